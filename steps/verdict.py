#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""verdict.py KUNIT-STATUS JSON CONSOLE TESTS: judges a run of kunit.py.

Prints a line for each suite and each test that is not passed, writes TESTS ('PASS suite.test' lines) and exits by the
table in common.sh. kunit.py itself takes a run without a test for a failure, but neither a splat beside tests that
pass nor a run in which every test was skipped.
"""
import json
import re
import sys

SPLAT = re.compile(
    r'WARNING: |BUG: |\bBUG at |Oops|Internal error|Unable to handle kernel|Kernel panic|general protection fault'
    r'|Call [Tt]race:|UBSAN: |KASAN: |KFENCE: |KCSAN: |kmemleak: (?:\d+ new|.*[Dd]isabl)|turning off the locking correctness|possible (?:circular|recursive) locking'
    r'|inconsistent lock state|suspicious RCU usage|sleeping function called|scheduling while atomic'
    r'|INFO: (?:task|rcu_|trying to register)|DMA-API: .*(?:error|leak|not allocated|disabling)|refcount_t: ')


def cases(group, path=()):
    for case in group.get('test_cases', []):
        yield '.'.join(path + (case['name'],)), case['status']
    for sub in group.get('sub_groups', []):
        yield from cases(sub, path + (sub['name'],))


def main(status, json_file, console, tests_file):
    try:
        with open(json_file) as f:
            results = list(cases(json.load(f)))
    except (OSError, ValueError):
        results = []
    with open(console, errors='replace') as f:
        lines = f.read().splitlines()
    splats = [line.strip() for line in lines if SPLAT.search(line)]
    with open(tests_file, 'w') as f:
        f.writelines('%s %s\n' % (s, n) for n, s in results)

    suites = {}
    for name, result in results:
        suites.setdefault(name.split('.')[0], []).append(result)
    for suite, got in suites.items():
        words = ['%d %s' % (got.count(s), word) for s, word in
                 (('PASS', 'passed'), ('FAIL', 'failed'), ('ERROR', 'crashed'), ('SKIP', 'skipped')) if s in got]
        print('   %s: %s' % (suite, ', '.join(words)))
    for name, result in results:
        if result in ('FAIL', 'ERROR'):
            print('   %s: %s' % ({'FAIL': 'failed', 'ERROR': 'crashed'}[result], name))
    reasons = {}
    for line in lines:
        skip = re.search(r'^ +ok \d+ .*# SKIP (\S.*)', line)
        if skip:
            reasons[skip.group(1)] = reasons.get(skip.group(1), 0) + 1
    for reason, count in sorted(reasons.items(), key=lambda r: -r[1]):
        print('   skipped %d: %s' % (count, reason.strip()))
    for line in splats[:5]:
        print('   console: ' + line)

    passed = sum(s == 'PASS' for _, s in results)
    if splats:
        return 3
    if int(status) or any(s in ('FAIL', 'ERROR') for _, s in results):
        return 1
    if not passed:
        print('   no test ran' if not results else '   every test was skipped')
        return 1
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main(*sys.argv[1:]))
    except OSError as error:
        print('   ' + str(error))
        sys.exit(125)
