"""The library in a browser: a Gradio app on this machine, and the Space that shows it to others.

The rooms inside: `app` (what is assembled and how it runs), `search_tab`, `classify_tab`, `library_tab` (what is seen),
`desk` (what they ask of the library), `markup` (HTML, in which everything is escaped), `serving` (images by id),
`safety` (who may ask for what), `scratch` (the private folder of a run), and `space` (the export).

Nothing here is imported by ``roco --help``; gradio is imported only by `app` and the tabs.
"""
