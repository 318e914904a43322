// Python, and the library in it, off the page's own thread. What it is asked are texts, what it answers is HTML.
const base = new URL("../browser/", self.location);

async function start() {
  const { loadPyodide } = await import(new URL("pyodide.mjs", base));
  const [python, archives] = await Promise.all([
    loadPyodide({ indexURL: base.href }),
    fetched("archives.json").then((answer) => answer.json()).then(all),
  ]);
  for (const archive of archives) python.unpackArchive(archive, "zip");
  return python.runPython(`
    import json
    from docs.answers.page import answer
    lambda texts: json.dumps(answer(json.loads(texts)))
  `);
}

const all = (names) => Promise.all(names.map(async (name) => (await fetched(name)).arrayBuffer()));

async function fetched(name) {
  const answer = await fetch(new URL(name, base));
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer;
}

const answering = start();
answering.then(
  () => self.postMessage({ ready: true }),
  (error) => self.postMessage({ broken: String(error) }),
);
self.onmessage = async ({ data }) => {
  const answer = await answering;
  self.postMessage(JSON.parse(answer(JSON.stringify(data))));
};
