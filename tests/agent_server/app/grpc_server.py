"""Serves the handlers as the built image does to its core: over gRPC. Prints the port; ends when standard input closes."""

import asyncio
import socket
import sys

from langgraph_api.grpc.server import start_python_grpc_server, stop_python_grpc_server


async def main():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    await start_python_grpc_server(port=port)
    print(f"PORT {port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await stop_python_grpc_server(grace_period=0)


asyncio.run(main())
