"""The methods of `Client`, in groups: one file for each kind of thing that a user wants from a server.

inference    chat, generate, embed
models       which models there are: list, show, copy, delete
running      which models are loaded: list, load, unload
transfers    models and blobs on the move: pull, push, create, blobs
server       the server itself and its account, the web, and routes that are newer than this library
"""
