"""Handlers that do nothing: what the benchmarks compare ours with."""

from langgraph_sdk import Encryption

encryption = Encryption()


@encryption.encrypt.json
@encryption.decrypt.json
async def same_json(ctx, data):
    return dict(data)


@encryption.encrypt.blob
@encryption.decrypt.blob
async def same_blob(ctx, data):
    return data
