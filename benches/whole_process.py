#!/usr/bin/env python3
"""CPU seconds and memory of whole runs, beside a peer on the same requests in the same session.

The workload is synthetic: Poisson arrivals at 64/s for 16 replicas, log-normal prompts (median 512) and answers (median 128),
2,048 batched tokens, 256 sequences. Two lengths give the slope: what one more request costs, start-up aside. Machines are
shared and noisy, so all runs take turns, each figure is the least of several, and the ratio to the peer is what counts.

usage: benches/whole_process.py [--binary target/dist/scaletwin] [--peer PYTHON] [--runs 3] [--small 100000] [--large 1000000]

The binary is the one that is shipped: cargo build --profile dist. --peer names a Python with `ai-dynamo-runtime` installed:
NVIDIA DynoSim replays the small trace beside ours.
"""
import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile

ENGINE = (
    "{kind: continuous-batching, max_num_seqs: 256, max_num_batched_tokens: 2048, num_gpu_blocks: 7248, "
    "max_model_len: 32768, enable_prefix_caching: %s, step_time: {linear: "
    "{base: 6ms, per_prefill_token: 25us, per_sequence: 30us, per_context_token: 20ns}}}"
)
BATCHING = """name: batching
services:
  - name: llm
    routing: round-robin
    deployments: [{name: main, model: llama-3.1-8b, accelerator: h100-sxm, replicas: 16, engine: %s}]
traffic: [{name: all, trace: {format: vidur, path: '%s'}}]
"""
SLOTS = """name: slots
services:
  - name: web
    routing: round-robin
    deployments: [{name: main, replicas: 100, engine: {kind: concurrency, limit: 8, service_time: {exponential: {mean: 1s}}}}]
traffic: [{name: all, requests: %d, arrivals: {poisson: {rate: 680/s}}}]
"""
PEER = """
import json, resource, sys, time
from dynamo._core import run_mocker_trace_replay
engine = {"engine": {"block_size": 64, "max_num_seqs": 256, "max_num_batched_tokens": 2048, "num_gpu_blocks": 1812}}
cpu = time.process_time()
run_mocker_trace_replay([sys.argv[1]], engine, num_workers=16, trace_block_size=512, replay_mode="offline", router_mode="round_robin")
print(json.dumps({"cpu": time.process_time() - cpu, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def requests(count):
    draw = random.Random(42)
    at = 0.0
    for _ in range(count):
        at += draw.expovariate(64)
        prompt = max(16, min(3500, int(draw.lognormvariate(math.log(512), 1.0))))
        answer = max(2, min(500, int(draw.lognormvariate(math.log(128), 0.9))))
        yield at, prompt, answer


def write_vidur(path, count):
    with open(path, "w") as file:
        file.write("arrived_at,num_prefill_tokens,num_decode_tokens\n")
        file.writelines("%.6f,%d,%d\n" % row for row in requests(count))


def write_mooncake(path, count):
    used = 0
    with open(path, "w") as file:
        for at, prompt, answer in requests(count):
            blocks = -(-prompt // 512)
            row = {"timestamp": round(at * 1000, 3), "input_length": prompt, "output_length": answer,
                   "hash_ids": list(range(used, used + blocks))}
            used += blocks
            file.write(json.dumps(row) + "\n")


def once(command):
    """The CPU seconds of a run, its memory in MB, and what it printed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = [done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, done.stdout]
        with os.fdopen(write, "w") as pipe:
            pipe.write(json.dumps(result))
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        code, cpu, mb, printed = json.loads(pipe.read())
    os.waitpid(child, 0)
    if code != 0:
        sys.exit("failed: %s" % " ".join(command))
    return cpu, mb, printed


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--binary", default="target/dist/scaletwin")
    options.add_argument("--peer")
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--small", type=int, default=100_000)
    options.add_argument("--large", type=int, default=1_000_000)
    options = options.parse_args()
    if not os.path.exists(options.binary):
        sys.exit("there is no %s: cargo build --profile dist, or name another with --binary" % options.binary)
    with tempfile.TemporaryDirectory() as folder:
        def ours(name, scenario):
            path = os.path.join(folder, name + ".yaml")
            with open(path, "w") as file:
                file.write(scenario)
            return lambda: once([options.binary, "run", path, "-q", "--format", "json"])[:2]

        def peers(path):
            measured = json.loads(once([options.peer, "-c", PEER, path])[2].strip().splitlines()[-1])
            return measured["cpu"], measured["mb"]

        sizes = options.small, options.large
        for count in sizes:
            write_vidur(os.path.join(folder, "%d.csv" % count), count)
        batching = lambda cached: lambda count: BATCHING % (ENGINE % cached, os.path.join(folder, "%d.csv" % count))
        kinds = [
            ("batching", batching("false"), sizes),
            ("batching, prefix caching", batching("true"), sizes),
            ("slots", lambda count: SLOTS % count, [10 * size for size in sizes]),
        ]
        runs = {(name, count): ours("%s %d" % (name, count), make(count)) for name, make, counts in kinds for count in counts}
        if options.peer:
            path = os.path.join(folder, "peer.jsonl")
            write_mooncake(path, options.small)
            runs["peer"] = lambda: peers(path)
        seconds, memory = dict.fromkeys(runs, math.inf), dict.fromkeys(runs, 0)
        for _ in range(options.runs):
            for run, measure in runs.items():
                cpu, mb = measure()
                seconds[run], memory[run] = min(seconds[run], cpu), max(memory[run], mb)
        slopes = []
        for name, _, (small, large) in kinds:
            less, more = seconds[name, small], seconds[name, large]
            slopes.append((more - less) / (large - small) * 1e6)
            print("%-28s %9d: %7.3f s   %9d: %7.3f s, %4.0f MB   slope %6.3f us a request"
                  % (name, small, less, large, more, memory[name, large], slopes[-1]))
        if options.peer:
            cost = seconds["peer"] / options.small * 1e6
            print("%-28s %9d: %7.3f s, %4.0f MB   %.1f us a request: %.0f times ours"
                  % ("DynoSim", options.small, seconds["peer"], memory["peer"], cost, cost / slopes[0]))


main()
