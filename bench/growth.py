#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""growth.py WORK RESULT PLOTS: the runs of 'steps/bench growth' as RESULT, a JSON file, and as PLOTS-*.svg."""
import json
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
from table import DEVICES, KERNELS, read, rows, versions  # noqa: E402, not before the line above

# file, title, axis, logarithmic axes
PLOTS = (('fill', 'Part of the pool that is held, evenly spread', 'percent', ''),
         ('size', 'Size of the request', 'bytes', 'xy'),
         ('held', 'Operations of its kind that are held', 'operations', 'x'),
         ('pool', "Size of the disks' pool", 'MiB', 'x'),
         ('boot', "Size of the disks' pool: boot to init", 'MiB', ''),
         ('vcpus', 'Processors of the guest', 'vcpus', ''),
         ('disks', 'Devices on the pool, and the one that is counted', 'disks', ''))
TITLES = {'base': 'without the series', 'series': 'with it'}


def points(work, kernel):
    """{plot: {line: {x: instructions}}}"""
    found = {}
    results = os.path.join(work, 'results')
    for name in sorted(os.listdir(results)):
        run = re.fullmatch(rf'testbed-bench-{kernel}-(?:growth|(pool|vcpus|disks)-(\d+))\.json', name)
        if not run:
            continue
        for row, (_, count) in rows(read(os.path.join(results, name))).items():
            device, _, what = row.partition(', ')
            title = dict(DEVICES).get(device, device)
            point = re.fullmatch(r'(fill|size|held) (\d+), (.*)', what)
            if row == 'boot, to init' and run[1] == 'pool':
                plot, x, line = 'boot', run[2], 'boot'
            elif not point:
                continue
            elif run[1]:
                plot, x, line = *run.groups(), f'{title}, {point[2]} % held: {point[3]}'
            else:
                plot, x, line = point[1], point[2], f'{title}: {point[3]}'
            found.setdefault(plot, {}).setdefault(line, {})[int(x)] = count
    return {plot: {line: dict(sorted(p.items())) for line, p in sorted(lines.items())} for plot, lines in found.items()}


def script(path, title, axis, log, kernels):
    """What gnuplot is told: a colour a line, a dash a kernel."""
    names = list(dict.fromkeys(line for lines in kernels.values() for line in lines))
    data, plots = [], []
    for i, (kernel, line) in enumerate((k, l) for k in kernels for l in names if l in kernels[k]):
        data += [f'$d{i} << E', *(f'{x} {y}' for x, y in kernels[kernel][line].items()), 'E']
        plots.append(f'$d{i} with linespoints lc {names.index(line) + 1} pt {names.index(line) + 4} '
                     f"dt {2 if kernel == 'base' else 1} title \"{line}, {TITLES.get(kernel, kernel)}\"")
    return '\n'.join([*data, f"set terminal svg size 900,{340 + 18 * len(plots)} background 'white'", f"set output '{path}'",
                      f'set title "{title}"', f"set xlabel '{axis}'", "set ylabel 'instructions'", 'set grid',
                      "set key below vertical maxcols 2 font ',9'", "set format y '%.0f'",
                      "set format x '%.0b %B'" if log == 'xy' else '',
                      f'set logscale {log} 2' if log == 'x' else 'set logscale x 2; set logscale y 10' if log else '',
                      'set yrange [0:*]' if 'y' not in log else '', 'plot ' + ', '.join(plots), ''])


def main(work, out, plots):
    kernels = {k: p for k in KERNELS if (p := points(work, k))}
    if not kernels:
        sys.exit('growth: no run has a result')
    with open(out, 'w') as f:
        json.dump({**versions(work, f'testbed-bench-{next(iter(kernels))}-growth'), 'kernels': kernels}, f, indent=1)
        f.write('\n')
    for name, title, axis, log in PLOTS:
        lines = {k: p[name] for k, p in kernels.items() if name in p}
        if lines:
            subprocess.run(['gnuplot'], input=script(f'{plots}-{name}.svg', title, axis, log, lines), text=True, check=True)
    print(f'growth: {sum(len(line) for k in kernels.values() for p in k.values() for line in p.values())} points')


if __name__ == '__main__':
    main(*sys.argv[1:])
