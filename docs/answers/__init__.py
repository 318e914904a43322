"""The page *Try it*: a convolution typed in, and what the library says of it, as HTML.

The same code renders the first answer when the site is built and all further ones in the browser. It uses rows 0 to 3
of the library, the standard library, and nothing else.
"""
