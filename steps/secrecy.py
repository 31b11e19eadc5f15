#!/usr/bin/env python3
"""What the host sees of the guest's secrets, from the results of testbed/run.

    secrecy.py summary RESULT...        one line, for what make run prints in the end
    secrecy.py table WORK TREE OUT KERNEL...    the table of steps/secrecy, of these kernels
"""

import datetime
import json
import os
import re
import subprocess
import sys

HOST = re.compile(r'the host sees (\d+) bytes in (\d+) pages(?:; (\d+) of (\d+) looks)?')
DRIVER = re.compile(r'the driver finds (\d+) bytes .* own, (\d+) changed .*, (\d+) lost')
KERNELS = (('base', 'the base'), ('functional', 'the series without what keeps secrets'),
           ('series', 'the series'))


def read(path):
    """{(kind, path's name): (status, detail)} and the rest of a result."""
    try:
        with open(path) as f:
            result = json.load(f)
    except OSError:
        return {}, None
    found = {}
    for test in result['test_cases']:
        kind, _, name = test['name'].partition(' ')
        if kind in ('secrets', 'buffers'):
            found[kind, name] = test['status'], test['detail']
    return found, result


def cell(test, result):
    """One path on one kernel, as the table says it."""
    if not test:
        return 'the guest does not live so long' if result and result['status'] else ''
    status, detail = test
    host, driver = HOST.match(detail), DRIVER.match(detail)
    if status == 'SKIP':
        return ''
    if host:
        size, pages, seen, looks = (int(n or 0) for n in host.groups())
        parts = [f'{size:,} bytes in {pages} pages'] * bool(size) + [f'{seen} of {looks} looks'] * bool(seen)
        return (f'**{", ".join(parts)}**' if parts else '0') + ' (errors)' * ('errors' in detail)
    if driver:
        if status == 'PASS':
            return '0'
        return '; '.join(f'**{int(n):,} bytes {what}**' for n, what in
                         zip(driver.groups(), ('of another', 'changed beside it', 'lost')) if int(n))
    return detail


def table(work, tree, out, *taken):
    """Writes the table.  Return: 0 if the series is clean and lives, and the others are not."""
    with open(os.path.join(work, 'base')) as f:
        base = re.search(r'^name=(.*)$', f.read(), re.M)[1]
    found, results = {}, {}
    for kernel, _ in KERNELS:
        for dts in ('pool', 'nopool'):
            path = os.path.join(work, 'results', f'testbed-secrecy-{kernel}-{dts}.json')
            found[kernel, dts], results[kernel, dts] = read(path) if kernel in taken else ({}, None)
    with open(os.path.join(os.path.dirname(__file__), '..', 'mutants', 'secrets')) as f:
        kept = [f'`{line.strip()}`' for line in f if line.strip() and line[0] != '#']
    qemu = subprocess.run(['qemu-system-aarch64', '--version'], stdout=subprocess.PIPE,
                          text=True, check=True).stdout.split('\n')[0]
    host = next((r['host'] for r in results.values() if r), 'no host')
    lines = ['<!-- written by steps/secrecy -->', '# What the host sees of the guest\'s secrets', '',
             f'Taken on {datetime.date.today()}: {base}; the series is tree {tree}; host kernel {host}; {qemu}.', '',
             'A path is a way by which memory becomes shared. Each has a canary of its own, left in free memory, or in '
             'and beside the', 'buffer that is mapped. The host looks for it while the memory is held and afterwards '
             '(bytes and pages), and a thread of the', 'host looks all the time while the guest does the same again '
             'and again (looks: how many of those at which the memory was', 'visible found it).', '',
             '"The device cannot reach it": without the series there is no DMA on this path, so nothing can be seen '
             'either. What keeps', 'secrets, and is left out in the second column: ' + ', '.join(kept) + '.', '',
             'Once grown, the pools for atomic allocations are taken from again, so that only the first path shows what '
             'they held; and', 'as they grow in the background, it may be a later one.', '']
    dirty = dict.fromkeys((k for k, _ in KERNELS), 0)
    red = [f'the guest {dts}: {results["series", dts]["reason"]}' for dts in ('pool', 'nopool')
           if results['series', dts] and results['series', dts]['status']]
    for dts, title in (('pool', 'Devices with restricted pools, and others'),
                       ('nopool', 'No device has a restricted pool')):
        for kind, what in (('secrets', 'what the host sees'),
                           ('buffers', 'what the driver finds in its buffer')):
            rows = {}
            for kernel, _ in KERNELS:
                for k, name in found[kernel, dts]:
                    if k == kind:
                        rows[name] = [cell(found[k2, dts].get((kind, name)), results[k2, dts]) for k2, _ in KERNELS]
            for name, cells in rows.items():
                for (kernel, _), text in zip(KERNELS, cells):
                    dirty[kernel] += '**' in text
                test = found['series', dts].get((kind, name))
                if results['series', dts] and (not test or test[0] == 'FAIL'):
                    red.append(f'{kind} {name}')
            shown = {n: c for n, c in rows.items() if any(c) and (kind == 'secrets' or '**' in ''.join(c))}
            lines += [f'## {title}: {what}', '']
            if kind == 'buffers':
                lines += [f'On {len(rows) - len(shown)} of {len(rows)} paths it finds, with each kernel, nothing but its '
                          'own bytes, or zero, where the device wrote nothing.', '']
            if shown:
                lines += ['| path | ' + ' | '.join(t for _, t in KERNELS) + ' |', '|---|---|---|---|']
                lines += [f'| {n} | ' + ' | '.join(c) + ' |' for n, c in shown.items()] + ['']
    with open(out, 'w') as f:
        f.write('\n'.join(lines).rstrip('\n') + '\n')
    for name in red:
        print(f'FAIL  with the series: {name}')
    blind = [t for k, t in KERNELS if k != 'series' and found[k, 'pool'] and not dirty[k]]
    for title in blind:
        print(f'FAIL  {title}: nothing is found, so the search is worth nothing')
    print('secrecy: paths that show what they should not: ' +
          ', '.join(f'with {t} {dirty[k]}' for k, t in KERNELS if any(found[k, d] for d in ('pool', 'nopool'))))
    return 1 if red or blind or not any(found.values()) else 0


def summary(paths):
    """One line of what all of these guests have found."""
    count = {'secrets': 0, 'buffers': 0}
    size = looks = seen = foreign = bad = 0
    for path in paths:
        for (kind, _), (status, detail) in read(path)[0].items():
            if status == 'SKIP':
                continue
            count[kind] += 1
            bad += status == 'FAIL'
            host, driver = HOST.match(detail), DRIVER.match(detail)
            if host:
                size += int(host[1])
                seen += int(host[3] or 0)
                looks += int(host[4] or 0)
            elif driver:
                foreign += sum(int(n) for n in driver.groups())
    if count['secrets']:
        print(f'   secrets: on {count["secrets"]} paths the host sees {size:,} bytes of what was private, and {seen:,} '
              f'of {looks:,} looks in the midst of it see some;')
        print(f'   the drivers of {count["buffers"]} paths find {foreign:,} bytes that they should not'
              + (f'; {bad} verdicts are red' if bad else ''))
    return 0


if __name__ == '__main__':
    sys.exit(table(*sys.argv[2:]) if sys.argv[1] == 'table' else summary(sys.argv[2:]))
