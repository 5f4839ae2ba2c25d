"""Documents: the text of what people have, recognised by content, with bounded memory and time.

``kinds`` tells what a file is, ``reading`` makes texts of a list of sources, and the other modules
each take the text out of one family of formats. All but PDF is read by the standard library:
libraries for the other formats build the whole document in memory, which a small hostile file can
make as large as it likes.
"""
