#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""totals.py RESULTS NAME: what the guests that steps/guest has run under NAME came to, by their kunit.py-like JSON in RESULTS: tests
passed and skipped, by what they are about, in one line."""
import glob
import json
import os
import sys

ABOUT = {'secrets': 'secrets', 'selftests': 'kselftest'}    # guests that are about one thing; their KUnit apart


def count(group, total):
    for case in group.get('test_cases', []):
        total[case['status']] = total.get(case['status'], 0) + 1
    for sub in group.get('sub_groups', []):
        count(sub, total)


def main(results, name):
    totals = {what: {} for what in ('KUnit', 'audits and block I/O', 'secrets', 'kselftest')}
    for path in glob.glob(f'{results}/testbed-{name}-*.json'):
        guest = os.path.basename(path)[len(f'testbed-{name}-'):-len('.json')]
        with open(path) as f:
            count(json.load(f), totals['KUnit' if guest.endswith('-kunit') else ABOUT.get(guest, 'audits and block I/O')])
    print('; '.join(what + ' ' + ', '.join(f'{total[status]} {word}' for status, word in (('PASS', 'passed'), ('SKIP', 'skipped'))
                                           if total.get(status)) for what, total in totals.items() if total))


main(*sys.argv[1:])
