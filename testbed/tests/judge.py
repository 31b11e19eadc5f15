#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A warning that is due is no alarm; any other is, and so is one that is due and has not come. What ends a run is its status."""
import argparse
import importlib.machinery
import importlib.util
import os
import sys

sys.dont_write_bytecode = True
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'judge')
loader = importlib.machinery.SourceFileLoader('judge', path)
judge = importlib.util.module_from_spec(importlib.util.spec_from_loader('judge', loader))
loader.exec_module(judge)


def warning(where):
    return ['------------[ cut here ]------------',
            f'WARNING: CPU: 0 PID: 1 at kernel/dma/pool.c:1 {where}+0x1/0x2',
            'Call trace:', '---[ end trace 0000000000000000 ]---']


def due(count):
    return [f'testbed: warnings due: {count} atomic_pool_expand']


BEGIN = ['testbed: warnings may be due']
FAILING = ['testbed: fault: grow plain-64 coherent 4096 bytes atomic, allocation 9 (testbed.faults=4,4,9)']
FAILED = ['kworker/0:1: vmalloc error: size 64, vm_struct allocation failed', 'CPU: 0 UID: 0 PID: 10', 'Call trace:']
OVER = ['testbed: fault over']
IT, OTHER = warning('atomic_pool_expand'), warning('set_memory_encrypted')
CASES = [
    (False, BEGIN + IT + due(1)),
    (False, BEGIN + due(0)),
    (False, BEGIN + IT + due(1) + BEGIN + due(0) + BEGIN + IT + due(1)),
    (True, BEGIN + due(1)),
    (True, BEGIN + IT + due(0)),
    (True, BEGIN + IT + IT + due(1)),
    (True, BEGIN + OTHER + due(1)),
    (True, BEGIN + OTHER + IT + due(1)),
    (True, BEGIN + IT + OTHER + due(1)),
    (True, IT + BEGIN + due(1)),
    (False, FAILING + FAILED + OVER),
    (True, FAILING + OVER + FAILED),
    (True, FAILED),
    (True, FAILING + IT + OVER),
    (True, FAILING + FAILED + IT + OVER),
    (True, IT),
    (True, IT + due(1)),
]
wrong = [log for alarm, log in CASES
         if alarm != any(judge.SPLAT.search(line) for line in judge.without_due(log))]
for log in wrong:
    print('judged wrongly:', *log, sep='\n    ', file=sys.stderr)

# What the console has, the guest's kernel log, and the status
CONSOLE = ['host: kvm [1]: Protected hVHE mode initialized successfully', 'test: ok boot']
VERDICT = ['verdict: status 0 passed 1 failed 0 skipped 0 guest-ms 1']
RUNS = [
    (CONSOLE + VERDICT, ['Linux version'], judge.PASS),
    (CONSOLE + VERDICT, [], judge.SETUP),
    (CONSOLE, ['Linux version'], judge.SETUP),
    (CONSOLE[:1] + VERDICT, ['Linux version'], judge.FAIL),
    (CONSOLE[1:] + VERDICT, ['Linux version'], judge.SETUP),
    (CONSOLE + ['test: not ok dma: wrong'] + VERDICT, ['Linux version'], judge.FAIL),
    (CONSOLE + VERDICT, IT, judge.CRASH),
]
ARGS = argparse.Namespace(ended=0, command='testbed/run', ktap=False, no_log=False)
for console, log, status in RUNS:
    got = judge.judge(ARGS, console, log, [])
    if got[0] != status:
        print(f'judged wrongly, {got} and not {status}:', *console, *log, sep='\n    ', file=sys.stderr)
        wrong.append(log)
sys.exit(bool(wrong))
