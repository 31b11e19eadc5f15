#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""trees.py note TOP WORK TREE: takes what steps/trees has left in WORK/logs to TOP/results/TREE, as 'check|what it said' lines
under a first one with the tree of the series; lines of another series are marked so until the check has run again.

trees.py table TOP: prints the table of these files and puts it into TOP/README.md.
"""
import datetime
import os
import re
import subprocess
import sys

VERDICT = re.compile(r'(ok|skip|FAIL) +(\S+) \(\d+ s\): (.*)')
OLDER = ', of an older series'
BEGIN, END = '<!-- written by make trees -->\n', '<!-- end -->\n'


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def lines(name):
    try:
        with open(name) as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []


def first(name, prefix):
    return next((line[len(prefix):] for line in lines(name) if line.startswith(prefix)), '?')


def tip_of(work):
    commit = lines(os.path.join(work, 'commits'))[-1].split()[0]
    return output('git', '-C', os.path.join(work, 'scratch.git'), 'rev-parse', commit + '^{tree}').strip()


def note(top, work, tree):
    name = os.path.join(top, 'results', tree)
    header = 'series ' + tip_of(work)
    old = lines(name)
    rows = dict(line.split('|', 1) for line in old[1:])
    if old[:1] != [header]:
        rows = {check: what.removesuffix(OLDER) + OLDER for check, what in rows.items()}
    for line in lines(os.path.join(work, 'logs/trees.log')):
        match = VERDICT.match(line)
        if match:
            verdict, check, what = match.groups()
            rows[check] = {'ok': '', 'skip': 'skipped: ', 'FAIL': '**fails**: '}[verdict] + what.replace('|', ',')
    rows['linux'] = first(os.path.join(work, 'base'), 'name=')
    rows['series'] = f"{len(lines(os.path.join(work, 'commits'))) - 1} commits"
    rows['host'] = (lines(os.path.join(work, '../host/version')) or ['?'])[0].split()[0]
    rows['tools'] = output('qemu-system-aarch64', '--version').splitlines()[0].split(' (')[0] + ', gcc ' + \
        output('gcc', '-dumpversion').strip()
    rows['last run'] = datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d')
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, 'w') as f:
        f.write(header + '\n' + ''.join(f'{what}|{text}\n' for what, text in rows.items()))


def mutants(top, table, tree, series):
    """What mutants/TABLE or mutants/HUNKS of this tree came to."""
    rows = lines(os.path.join(top, 'mutants', table + ('' if tree == '6.12' else '-' + tree) + '.md'))
    verdicts = [row.rstrip('| ').rsplit(' | ', 1)[1] for row in rows if row.startswith('| ') and row.count(' | ')][1:]
    if not verdicts:
        return 'not run'
    equivalent = sum(verdict.startswith('equivalent') for verdict in verdicts)
    missed = sum(verdict.startswith('**') for verdict in verdicts)
    untried = re.search(r', \d+ not tried', '\n'.join(rows))
    return f'{len(verdicts) - equivalent - missed} of {len(verdicts)} caught' + \
        (f', {equivalent} equivalent' if equivalent else '') + (untried[0] if untried else '') + \
        ('' if any(series.split()[-1] in row for row in rows) else OLDER)


def table(top):
    trees = sorted(os.listdir(os.path.join(top, 'trees')), key=lambda name: [int(n) for n in re.findall(r'\d+', name)])
    found, order = {}, []
    for tree in trees:
        old = lines(os.path.join(top, 'results', tree))
        found[tree] = dict(line.split('|', 1) for line in old[1:])
        order += [what for what in found[tree] if what not in order]
        for what, name in (('mutants, by hand', 'TABLE'), ('places turned back, one by one', 'HUNKS')):
            found[tree][what] = mutants(top, name, tree, old[0] if old else '?')
    about = ['linux', 'series']
    last = ['mutants, by hand', 'places turned back, one by one', 'host', 'tools', 'last run']
    order = about + sorted(what for what in order if what not in about + last) + last
    rows = ['| | ' + ' | '.join(trees) + ' |', '|---' * (len(trees) + 1) + '|']
    rows += [f'| {what} | ' + ' | '.join(found[tree].get(what, 'not run') for tree in trees) + ' |' for what in order]
    text = '\n'.join(rows) + '\n'
    print(text, end='')
    readme = os.path.join(top, 'README.md')
    with open(readme) as f:
        before, rest = f.read().split(BEGIN)
    after = rest.split(END, 1)[1]
    with open(readme + '.new', 'w') as f:
        f.write(before + BEGIN + '\n' + text + '\n' + END + after)
    os.replace(readme + '.new', readme)


if __name__ == '__main__':
    {'note': note, 'table': table}[sys.argv[1]](*sys.argv[2:])
