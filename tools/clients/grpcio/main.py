"""Makes the calls of a plan with Python's grpcio and tells how each ended, as grpc-go/main.go does.

The plan is JSON on standard input, the outcomes one line of JSON on standard output; test/foreign/plan.ts describes both.
"""

import base64
import json
import sys
import threading
import time

import grpc


def bytes_as_they_are(message):
    return message


def connect(plan):
    options = [
        # Channels with the same options would share a connection.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", 64 << 20),
    ]
    if plan.get("keepaliveMs"):
        options += [
            ("grpc.keepalive_time_ms", plan["keepaliveMs"]),
            ("grpc.keepalive_timeout_ms", 2_000),
            ("grpc.http2.max_pings_without_data", 0),
        ]
    if not plan.get("ca"):
        return grpc.insecure_channel(plan["address"], options)
    with open(plan["ca"], "rb") as file:
        return grpc.secure_channel(plan["address"], grpc.ssl_channel_credentials(file.read()), options)


def start(call, channel):
    messages = [base64.b64decode(each) for each in call["messages"]]
    options = {
        "metadata": list((call.get("metadata") or {}).items()),
        "timeout": call["timeoutNs"] / 1e9 if call.get("timeoutNs") else None,
        "compression": grpc.Compression.Gzip if call.get("gzip") else None,
    }
    if not call.get("stream"):
        method = channel.unary_unary(call["method"], bytes_as_they_are, bytes_as_they_are)
        return method.future(messages[0], **options)

    def paced():
        for at, message in enumerate(messages):
            if at > 0 and call.get("restMs"):
                time.sleep(call["restMs"] / 1_000)
            yield message

    method = channel.stream_stream(call["method"], bytes_as_they_are, bytes_as_they_are)
    return method(paced(), **options)


def begin(call, channel):
    """Starts the call; what it returns is told how it ends. Where it is to be given up, that is from now on."""
    started = start(call, channel)
    if call.get("cancelAfter") is not None:
        threading.Timer(call["cancelAfter"] / 1e6, started.cancel).start()
    return started


def end(call, started):
    answers = []
    try:
        if call.get("stream"):
            for answer in started:
                answers.append(answer)
        else:
            answers.append(started.result())
    except (grpc.RpcError, grpc.FutureCancelledError):
        pass
    return {
        "code": started.code().value[0],
        "message": started.details() or "",
        "errorCode": dict(started.trailing_metadata() or ()).get("mandate-error-code", ""),
        "messages": [base64.b64encode(answer).decode() for answer in answers],
    }


def main():
    plan = json.load(sys.stdin)
    channels = [connect(plan) for _ in range(max(1, plan.get("connections", 1)))]
    calls = plan["calls"]
    started = [begin(call, channels[at % len(channels)]) for at, call in enumerate(calls)]
    outcomes = [end(call, each) for call, each in zip(calls, started)]
    for channel in channels:
        channel.close()
    print(json.dumps(outcomes))


main()
