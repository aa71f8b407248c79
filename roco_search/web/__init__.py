"""The demo: the library in a browser, on this machine or as a Space on the Hugging Face Hub.

- `run`: ``roco demo`` from the address to the end: the private folder of the run, the model, the server.
- `app`: the Gradio app and the web server that it runs in.
- `desk`: what the tabs and routes ask of the library and the model, from any thread.
- `tabs`: what is seen, one file for each tab; `markup` and ``templates``: their HTML.
- `http`: the gate in front of every route, our own routes, pictures and uploads.
- `space`: the export to a Space, and what runs there.
- `stubs`: what makes the import of gradio a third shorter.

``roco --help`` imports nothing of this; only `app` and `tabs` import gradio.
"""

from roco_search.web.stubs import leave_stubs

leave_stubs()
