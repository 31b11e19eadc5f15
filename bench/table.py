#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""table.py collect WORK RESULT: the runs of steps/bench on a tree as RESULT, a JSON file.
table.py table RESULTS README: all of these in the folder RESULTS as tables in README.

Status 1 of collect if two runs of a kernel do not count the same, or a hypercall of any row was refused or for nothing.
"""
import json
import os
import re
import subprocess
import sys

COUNT = re.compile(r'row (\d+), (\d+) operations, (\d+) ns; (\d+) in all')
KERNELS = ('base', 'series', 'unzeroed')
DEVICES = (('pool-disks', 'a device with a restricted pool'), ('plain-64', 'a device without a pool'))
# Of the table by function: more than so many instructions' difference from any other kernel
WORTH = 5
TRACED = ('pool-disks, coherent 4 KiB', 'pool-disks, map 4 KiB, to device', 'pool-disks, map 4 KiB, from device')
SHOWN = TRACED + ('plain-64, coherent 4 KiB', 'plain-64, coherent 4 KiB, GFP_ATOMIC')
BOOT, READ = 'boot, to init', 'disk, read 16 MiB, O_DIRECT'
MIB = {'whole': 4, 'half': 2}  # the disks' pool in testbed/dts/guest.dts, and in the run 'half'
BEGIN, END = '<!-- written by steps/bench -->', '<!-- end -->'


def read(path):
    try:
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def rows(result):
    """{operation: (row, instructions an operation)}"""
    found = {}
    for test in result.get('test_cases', []):
        count = COUNT.match(test['detail'])
        if count:
            found[test['name'].removeprefix('count ')] = count[1], round(int(count[3]) / int(count[2]), 2)
    return found


def size(kernel):
    """Text, data and bss of a vmlinux."""
    run = subprocess.run(['size', os.path.join(kernel, 'vmlinux')], stdout=subprocess.PIPE, text=True, check=True)
    return dict(zip(('text', 'data', 'bss'), (int(n) for n in run.stdout.splitlines()[1].split()[:3])))


def of_kernel(work, kernel):
    """What is known of a kernel, the rows of which two runs differ, and those with hypercalls that were refused or for nothing."""
    def result(name):
        return read(os.path.join(work, 'results', f'{name}.json'))

    counted = {guest: [rows(result(f'testbed-bench-{kernel}-{prefix}{n}')) for n in (1, 2)]
               for guest, prefix in (('protected', ''), ('ordinary', 'el1-'))}
    differ = [f'{kernel}, {guest} guest: {name}' for guest, (one, two) in counted.items()
              for name in {**one, **two} if one.get(name) != two.get(name)]
    hypercalls = result(f'bench-{kernel}-hypercalls').get('counts', {})
    traces = result(f'bench-{kernel}-trace')
    half = rows(result(f'testbed-bench-{kernel}-half')).get(BOOT)
    # What each row of the run that counts them was refused, or asked for in vain; 'boot' is a row
    vain = [f'{kernel}: {row}' for row, calls in hypercalls.items() if calls.get('refused') or calls.get('redundant')]
    known = {'size': size(os.path.join(work, 'check', f'bench-{kernel}')),
             'boot': hypercalls.get('boot'),
             'pages shared after boot': shared_pages(os.path.join(work, 'run', f'bench-{kernel}-1', 'console.log')),
             'rows': {}, 'traces': {name: traces[name] for name in SHOWN if name in traces}}
    for name, (row, count) in counted['protected'][0].items():
        calls, trace = hypercalls.get(row), traces.get(name)
        known['rows'][name] = {
            'instructions': count,
            'ordinary guest': counted['ordinary'][0].get(name, (None, None))[1],
            # The run that counts them does one operation; rows are not part of a boot
            'hypercalls': calls and row != '0' and calls['shared'] + calls['unshared'] or 0 if calls else None,
            'pages more, at most': calls and calls['most pages'] - hypercalls['boot']['pages'],
            'bytes copied': trace and trace['copied'], 'bytes set': trace and trace['set']}
    if half and BOOT in known['rows']:
        known['pool, a MiB'] = round((counted['protected'][0][BOOT][1] - half[1]) / (MIB['whole'] - MIB['half']))
    return known, differ, vain


def shared_pages(console):
    try:
        with open(console) as f:
            found = re.search(r'after boot: the host sees (\d+) of', f.read())
    except OSError:
        return None
    return found and int(found[1])


def versions(work, run):
    """What was measured on; run is the name of a run that says which host it had."""
    def first_line(*command):
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[0]

    with open(os.path.join(work, 'base')) as f:
        base = re.search(r'^name=(.*)$', f.read(), re.M)[1]
    series = os.path.join(work, 'check', 'bench-series', 'tree')
    return {'base': base, 'series': open(series).read().strip() if os.path.exists(series) else None,
            'host': read(os.path.join(work, 'results', f'{run}.json')).get('host'),
            'qemu': first_line('qemu-system-aarch64', '--version'),
            'compiler': first_line('aarch64-linux-gnu-gcc', '--version')}


def collect(work, out):
    kernels, differ, vain = {}, [], []
    for kernel in KERNELS:
        if os.path.exists(os.path.join(work, 'results', f'testbed-bench-{kernel}-1.json')):
            kernels[kernel], kernel_differ, kernel_vain = of_kernel(work, kernel)
            differ += kernel_differ
            vain += kernel_vain
    if not kernels:
        sys.exit('bench: no run has a result')
    data = {**versions(work, f'testbed-bench-{next(iter(kernels))}-1'), 'kernels': kernels}
    with open(out, 'w') as f:
        json.dump(data, f, indent=1)
        f.write('\n')
    for row in differ:
        print(f'FAIL  two runs do not count the same: {row}')
    for row in vain:
        print(f'FAIL  hypercalls were refused, or for nothing: {row}')
    print(f'bench: {sum(len(k["rows"]) for k in kernels.values())} rows of {len(kernels)} kernels, '
          f'{len(differ)} differ from run to run')
    return 1 if differ or vain else 0


def number(value):
    return '-' if value is None else f'{value:,.0f}'


def cells(label, values):
    return f'| {label} | ' + ' | '.join(number(v) for v in values) + ' |'


def head(label, columns):
    return [f'| {label} | ' + ' | '.join(columns) + ' |', '|---|' + '---:|' * len(columns)]


def table_of(label, columns, names, value, keep=lambda values: True):
    """A row for each name of which keep() says so: value(kernel, name) of each kernel in columns."""
    lines = []
    for name in names:
        values = [value(kernel, name) for _, kernel in columns]
        if any(v is not None for v in values) and keep(values):
            lines.append(cells(name.partition(', ')[2], values))
    return head(label, [title for title, _ in columns]) + lines + [''] if lines else []


def functions_table(columns, row):
    """Functions of which two kernels differ, and the sum."""
    traces = [(title, kernel['traces'][row]) for title, kernel in columns if row in kernel['traces']]
    if len(traces) < 2:
        return []
    count = {f: [t['functions'].get(f, 0) for _, t in traces] for _, t in traces for f in t['functions']}
    other = {f: c for f, c in count.items() if max(c) - min(c) >= WORTH}
    same = [sum(c[i] for f, c in count.items() if f not in other) for i in range(len(traces))]
    lines = head(f"{dict(DEVICES)[row.partition(', ')[0]]}, {row.partition(', ')[2]}", [title for title, _ in traces])
    lines += [cells(f'{f}()', other[f]) for f in sorted(other, key=lambda f: (-max(other[f]), f))]
    return lines + [cells('all others', same), cells('together', [t['instructions'] for _, t in traces]),
                    cells('entries to the hypervisor', [t['exits'] for _, t in traces]), '']


def tables(trees):
    columns, lines = [], [BEGIN]
    for tree, data in trees:
        lines += [f"- {data['base']}; the series is tree {data['series']}; host kernel {data['host']}; {data['qemu']}; "
                  f"{data['compiler']}."]
        columns += [(f'{tree}{"" if kernel == "base" else ", " + kernel}', data['kernels'][kernel])
                    for kernel in KERNELS if kernel in data['kernels']]
    lines.append('')
    both = [(title, kernel) for title, kernel in columns if kernel['boot']]
    names = list(dict.fromkeys(name for _, kernel in columns for name in kernel['rows']))

    def of(what):
        return lambda kernel, name: kernel['rows'].get(name, {}).get(what)

    for device, title in DEVICES:
        own = [n for n in names if n.startswith(device + ', ')]
        lines += [f'**Instructions, {title}, protected guest**', '', *table_of('an operation and its opposite', columns, own,
                                                                             of('instructions'))]
    lines += ['**Hypercalls of an operation and its opposite** (those that are not here have 0; -: not counted)', '']
    for device, title in DEVICES:
        own = [n for n in names if n.startswith(device + ', ')]
        lines += table_of(title, both, own, of('hypercalls'), lambda values: any(values) or None in values)
    lines += ['**Bytes copied, and bytes zeroed or otherwise set**', '']
    for device, title in DEVICES:
        own = [n for n in names if n.startswith(device + ', ')]
        for what in ('copied', 'set'):
            lines += table_of(f'{title}: {what}', both, own, of(f'bytes {what}'), any)
    for device, title in DEVICES:
        own = [n for n in names if n.startswith(device + ', ')]
        lines += [f'**Instructions, {title}, ordinary guest**', '', *table_of('an operation and its opposite', both, own,
                                                                            of('ordinary guest'))]
    lines += head('a boot, and other', [title for title, _ in columns])

    def line(label, value):
        values = [value(kernel) for _, kernel in columns]
        return [cells(label, values)] if any(v is not None for v in values) else []

    for label, guest in (('protected', 'instructions'), ('ordinary', 'ordinary guest')):
        lines += line(f'instructions from the first tick of the clock to init, {label} guest', lambda k: of(guest)(k, BOOT))
        lines += line(f'instructions of a read of 16 MiB, O_DIRECT, {label} guest', lambda k: of(guest)(k, READ))
    lines += line('hypercalls of that read', lambda k: of('hypercalls')(k, READ))
    lines += line('instructions of a MiB more in the pool', lambda k: k.get('pool, a MiB'))
    for label, key in (('shares', 'shared'), ('un-shares', 'unshared'), ('of these refused', 'refused'),
                       ('of these for what was so already', 'redundant'), ('pages shared at most', 'most pages'),
                       ('pages shared in the end', 'pages')):
        lines += line(f'boot and probe of the driver: {label}', lambda k: (k['boot'] or {}).get(key))
    lines += line('pages that the host sees after boot', lambda k: k['pages shared after boot'])
    for part in ('text', 'data', 'bss'):
        lines += line(f'vmlinux: {part}, bytes', lambda k: k['size'][part])
    lines.append('')
    lines += ['**Instructions by function**: the mean of some operations, and from one kernel to another those that differ', '']
    for row in SHOWN:
        lines += functions_table(both, row)
    return '\n'.join(lines + [END]) + '\n'


def table(results, readme):
    trees = [(name.removesuffix('.json'), read(os.path.join(results, name))) for name in sorted(os.listdir(results))
             if re.fullmatch(r'[0-9.]+\.json', name)]
    with open(readme) as f:
        before, _, rest = f.read().partition(BEGIN)
    after = rest.partition(END)[2].lstrip('\n')
    with open(readme, 'w') as f:
        f.write(before + tables(trees) + after)
    return 0


if __name__ == '__main__':
    sys.exit({'collect': collect, 'table': table}[sys.argv[1]](*sys.argv[2:]))
