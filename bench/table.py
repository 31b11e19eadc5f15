#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""table.py WORK RESULT README: the runs of steps/bench as RESULT, a JSON file, and as the table in README.

Status 1 if two runs of a kernel do not count the same, or a hypercall was refused or for nothing.
"""
import json
import os
import re
import subprocess
import sys

COUNT = re.compile(r'row (\d+), (\d+) operations, (\d+) ns; (\d+) in all')
KERNELS = (('base', 'without the series'), ('series', 'with it'), ('unzeroed', 'with it, nothing zeroed'))
DEVICES = (('pool-disks', 'A device with a restricted pool'), ('plain-64', 'A device without a pool'))
BEGIN, END = '<!-- written by steps/bench -->', '<!-- end -->'


def read(path):
    try:
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def rows(result):
    """{(device, operation): (row, instructions an operation)}"""
    found = {}
    for test in result.get('test_cases', []):
        count = COUNT.match(test['detail'])
        if count:
            device, _, what = test['name'].removeprefix('count ').partition(', ')
            found[device, what] = count[1], round(int(count[3]) / int(count[2]), 2)
    return found


def size(kernel):
    """Text, data and bss of a vmlinux."""
    run = subprocess.run(['size', os.path.join(kernel, 'vmlinux')], stdout=subprocess.PIPE, text=True, check=True)
    return dict(zip(('text', 'data', 'bss'), (int(n) for n in run.stdout.splitlines()[1].split()[:3])))


def collect(work):
    results = os.path.join(work, 'results')
    kernels, differ = {}, []
    for kernel, _ in KERNELS:
        runs = [rows(read(os.path.join(results, f'testbed-bench-{kernel}-{n}.json'))) for n in (1, 2)]
        if not runs[0]:
            continue
        differ += [f'{kernel}: {", ".join(row)}' for row in {**runs[0], **runs[1]} if runs[0].get(row) != runs[1].get(row)]
        hypercalls = read(os.path.join(results, f'bench-{kernel}-hypercalls.json'))
        kernels[kernel] = {
            'size': size(os.path.join(work, 'check', f'bench-{kernel}')),
            'hypercalls of boot': hypercalls.get('counts', {}).get('boot'),
            'pages shared after boot': shared_pages(os.path.join(work, 'run', f'bench-{kernel}-1', 'console.log')),
            'rows': {', '.join(key): {'instructions': count, 'hypercalls': calls_of(hypercalls, row)}
                     for key, (row, count) in runs[0].items()}}
    return kernels, differ


def calls_of(hypercalls, row):
    """Share and unshare in one operation; the run that counts them does one."""
    count = hypercalls.get('counts', {}).get(row)
    return count and count['shared'] + count['unshared']


def shared_pages(console):
    try:
        with open(console) as f:
            found = re.search(r'after boot: the host sees (\d+) of', f.read())
    except OSError:
        return None
    return found and int(found[1])


def number(value):
    return 'not counted' if value is None else f'{value:,.0f}'


def table(data):
    kernels = data['kernels']
    there = [(k, t) for k, t in KERNELS if k in kernels]
    counted = [(k, t) for k, t in there if kernels[k]['hypercalls of boot']]
    lines = [BEGIN, f"{data['base']}; the series is tree {data['series']}; host kernel {data['host']}; {data['qemu']}; "
             f"{data['compiler']}.", '']
    for device, title in DEVICES:
        lines += [f'**{title}**', '', '| an operation and its opposite | ' + ' | '.join(t for _, t in there) +
                  ''.join(f' | hypercalls {t}' for _, t in counted) + ' |',
                  '|---|' + '---:|' * len(there + counted)]
        names = [n for k, _ in there for n in kernels[k]['rows'] if n.startswith(device + ', ')]
        for name in dict.fromkeys(names):
            cells = [number(kernels[k]['rows'].get(name, {}).get('instructions')) for k, _ in there]
            cells += [number(kernels[k]['rows'].get(name, {}).get('hypercalls')) for k, _ in counted]
            lines.append(f'| {name.partition(", ")[2]} | ' + ' | '.join(cells) + ' |')
        lines.append('')
    lines += ['| a boot, and the probe of the driver | ' + ' | '.join(t for _, t in there) + ' |', '|---|' + '---:|' * len(there)]
    for what, key in (('shares', 'shared'), ('un-shares', 'unshared'), ('of these refused', 'refused'),
                      ('of these for what was so already', 'redundant')):
        lines.append(f'| hypercalls: {what} | ' + ' | '.join(
            number((kernels[k]['hypercalls of boot'] or {}).get(key)) for k, _ in there) + ' |')
    lines.append('| pages that the host sees after boot | ' +
                 ' | '.join(number(kernels[k]['pages shared after boot']) for k, _ in there) + ' |')
    for part in ('text', 'data', 'bss'):
        lines.append(f'| vmlinux: {part}, bytes | ' + ' | '.join(number(kernels[k]['size'][part]) for k, _ in there) + ' |')
    zeroed, not_zeroed = (kernels.get(k, {}).get('rows', {}).get('plain-64, coherent 1 MiB', {}).get('instructions')
                          for k in ('series', 'unzeroed'))
    if zeroed and not_zeroed:
        lines += ['', f'To zero a page before it is shared takes {(zeroed - not_zeroed) / 256:,.0f} instructions: the difference of '
                  'the last two kernels at 1 MiB.']
    return '\n'.join(lines + ['', END]) + '\n'


def main(work, out, readme):
    kernels, differ = collect(work)
    if not kernels:
        sys.exit('bench: no run has a result')

    def first_line(*command):
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[0]

    with open(os.path.join(work, 'base')) as f:
        base = re.search(r'^name=(.*)$', f.read(), re.M)[1]
    hosts = [read(os.path.join(work, 'results', f'testbed-bench-{k}-1.json')).get('host') for k in kernels]
    with open(os.path.join(work, 'check', 'bench-series', 'tree')) as f:
        series = f.read().strip()
    data = {'base': base, 'series': series,
            'host': hosts[0], 'qemu': first_line('qemu-system-aarch64', '--version'),
            'compiler': first_line('aarch64-linux-gnu-gcc', '--version'), 'kernels': kernels}
    with open(out, 'w') as f:
        json.dump(data, f, indent=1)
        f.write('\n')
    with open(readme) as f:
        before, _, rest = f.read().partition(BEGIN)
    after = rest.partition(END)[2].lstrip('\n')
    with open(readme, 'w') as f:
        f.write(before + table(data) + after)
    for row in differ:
        print(f'FAIL  two runs do not count the same: {row}')
    bad = [k for k in kernels if any((kernels[k]['hypercalls of boot'] or {}).get(x) for x in ('refused', 'redundant'))]
    for kernel in bad:
        print(f'FAIL  {kernel}: hypercalls were refused, or for nothing')
    print(f'bench: {sum(len(k["rows"]) for k in kernels.values())} rows of {len(kernels)} kernels, '
          f'{len(differ)} differ from run to run')
    return 1 if differ or bad else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
