#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""trees.py note TOP WORK TREE: takes what steps/trees has left in WORK/logs to TOP/results/TREE, as 'check|what it said|when' lines
under a first one with what they hold of: a hash of the last commit's source, of all commits' sources, and of all commits as they
are. Lines of another series are marked so until the check has run again.

trees.py table TOP: what these files come to, as the table in TOP/README.md, and all of it in TOP/results/README.md.
"""
import datetime
import hashlib
import os
import re
import subprocess
import sys

VERDICT = re.compile(r'(ok|skip|FAIL) +(\S+) \(\d+ s\): (.*)')
# A check that somebody has stopped, by a signal, has said nothing
STOPPED = re.compile(r'(\S+): failed \(status (?:129|130|137|143)\)')
OLDER = ', of an older series'
BEGIN, END = '<!-- written by make trees -->\n', '<!-- end -->\n'
ABOUT = ['linux', 'series', 'host', 'tools', 'last run']
MUTANTS, HUNKS = 'mutants, by hand', 'places turned back, one by one'
UNPATCHED = 'audits and block I/O, one protected guest, of two CPUs, without the series'
NOT_RUN = 'not run'
# What checks/ of these names, and of these in long/, look at is not the source of the last commit alone, but that of all
OF_SOURCES = ('arches', 'bisect', 'prefixes')
# or also messages, documents and comments
OF_COMMITS = ('am', 'checkpatch', 'docs', 'document', 'kernel-doc', 'maintainers', 'older', 'parts',
              'patches-fresh', 'round-trip', 'tags')


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


def series_of(work):
    """Hashes of the last commit's source, of all commits' sources, both as series.py has it, and of all commits."""
    sources = lines(os.path.join(work, 'source'))
    commits = [line.split()[0] for line in lines(os.path.join(work, 'commits'))]
    log = output('git', '-C', os.path.join(work, 'scratch.git'), 'log', '--format=%T %s', f'{commits[0]}..{commits[-1]}')
    return [sources[-1], *(hashlib.sha256(text.encode()).hexdigest()[:12] for text in (' '.join(sources), log))]


def tools():
    try:
        return output('qemu-system-aarch64', '--version').splitlines()[0].split(' (')[0] + \
            ', gcc ' + output('gcc', '-dumpversion').strip()
    except FileNotFoundError:
        return ''


def rows_of(kept):
    """What results/TREE says of each check, and when it was said, of what has a date, by its lines."""
    rows = [line.split('|') for line in kept]
    return {check: said for check, said, *_ in rows}, {check: when[0] for check, _, *when in rows if when}


def note(top, work, tree):
    name = os.path.join(top, 'results', tree)
    series = series_of(work)
    old = lines(name)
    rows, dates = rows_of(old[1:])
    today = datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d')
    other = [was != now for was, now in zip((old or ['series - - -'])[0].split()[1:], series)]
    for check in rows:
        kind = check.removeprefix('long/')
        if other[2 if kind in OF_COMMITS else 1 if kind in OF_SOURCES else 0]:
            rows[check] = rows[check].removesuffix(OLDER) + OLDER
    log = lines(os.path.join(work, 'logs/trees.log'))
    stopped = {match[1] for match in map(STOPPED.fullmatch, log) if match}
    for match in filter(None, map(VERDICT.match, log)):
        verdict, check, what = match.groups()
        if check not in stopped:
            rows[check] = {'ok': '', 'skip': 'skipped: ', 'FAIL': '**fails**: '}[verdict] + what.replace('|', ',')
            dates[check] = today
    rows['linux'] = first(os.path.join(work, 'base'), 'name=')
    rows['series'] = f"{len(lines(os.path.join(work, 'commits'))) - 1} commits"
    # What this run had no use for is not on this machine
    for what, now in (('host', (lines(os.path.join(work, '../host/version')) or [''])[0].split(' ')[0]), ('tools', tools())):
        rows[what] = now or rows.get(what, '?')
    rows['last run'] = today
    os.makedirs(os.path.dirname(name), exist_ok=True)
    write(name, '\n'.join([' '.join(['series', *series])] + ['|'.join(filter(None, (what, text, dates.get(what))))
                                                            for what, text in rows.items()]) + '\n')


def table_of(top, table, tree):
    return os.path.join(top, 'mutants', table + ('' if tree == '6.12' else '-' + tree) + '.md')


def mutants(top, table, tree, series):
    """What mutants/TABLE or mutants/HUNKS of this tree came to."""
    rows = lines(table_of(top, table, tree))
    verdicts = [row.rstrip('| ').rsplit(' | ', 1)[1] for row in rows if row.startswith('| ') and row.count(' | ')][1:]
    if not verdicts:
        return 'not run'
    verdicts = [verdict for verdict in verdicts if not verdict.startswith('as on ')]
    said = [(len([verdict for verdict in verdicts if verdict.startswith(begin)]), what) for begin, what in (
        ('equivalent', 'equivalent'), ('untold', 'that nothing here can tell'), ('**', '**not caught**'))]
    # (A reason why no test can tell holds without one: it is counted above.)
    older = sum((', of an older series' in verdict or ', in an older version' in verdict) and
                not verdict.startswith(('equivalent', 'untold')) for verdict in verdicts)
    untried = re.findall(r', (\d+ (?:tried on 6.12 only|tried on an older series only|tried in an older version of their file|not tried))', '\n'.join(rows))
    return f'{len(verdicts) - older - sum(n for n, _ in said)} of {len(verdicts)} caught' + \
        ''.join(f', {n} {what}' for n, what in said if n) + ''.join(', ' + text for text in untried) + \
        ('' if any(series.split()[1] in row for row in rows) else OLDER)


def unpatched(top, tree):
    """How many tests of the guests are red on the base, by its row in mutants/TABLE."""
    for row in lines(table_of(top, 'TABLE', tree)):
        if row.startswith('| Linux without the series'):
            more = re.search(r' and (\d+) more', row)
            return f"{row.count('`') // 2 + int(more[1] if more else 0)} tests fail" + (OLDER if OLDER in row else '')
    return NOT_RUN


def cell(found, check, pattern):
    """What a check has said, as short as 'pattern' has it: its groups, or what they came to."""
    said = found.get(check, NOT_RUN)
    if said.startswith('**fails**'):
        return '**fails**'
    plain = said.removesuffix(OLDER)
    match = re.search(pattern, plain)
    if not match:
        return said
    # What needed a second try is not hidden by being short
    again = re.search('; came to no end at first: .*', plain)
    return (' '.join if len(match.groups()) < 3 else '; '.join)(group or '-' for group in match.groups()) + \
        (again[0] if again else '') + said[len(plain):]


def all_checks(found, names):
    said = [found[check] for check in names if check in found]
    fail, skipped, older = (sum(map(test, said)) for test in (
        lambda text: text.startswith('**fails**'), lambda text: text.startswith('skipped'),
        lambda text: text.endswith(OLDER)))
    return f'{len(said) - fail - skipped} passed, {fail} failed, {skipped} skipped, {len(names) - len(said)} not run' + \
        (f'; {older} of them{OLDER[1:]}' if older else '')


SUMMARY = {
    # row of README.md: check, what of its last line
    'git am': ('am', r'(\d+ patches)'),
    'every commit builds, warns of nothing new and passes the suites that there are by then, arm64 and x86_64': ('long/bisect', r'(\d+ commits)'),
    'every commit builds, by gcc and clang, as allmodconfig has it': ('long/arches', r'(\d+ configurations of \d+ architectures)'),
    'KUnit, arm64 at EL1': ('kunit-arm64', r'(\d+) tests( passed.*)'),
    'KUnit, x86_64': ('kunit-x86_64', r'(\d+) tests( passed.*)'),
    'KUnit, protected guest': ('guest', r'KUnit ([^;]*)'),
    'audits and block I/O, protected guest': ('guest', r'audits and block I/O ([^;]*)'),
    'what the host sees of secrets, protected guest': ('guest', r'secrets ([^;]*)'),
    'kselftest, protected guest': ('guest', r'kselftest ([^;]*)'),
    'each operation with each fault, protected guest': ('long/faults', r'(\d+ passed, \d+ failed)'),
    'paths that show secrets: without the series; without what keeps them; with it':
        ('long/secrecy', r'(?:with the base (\d+), )?with the series without what keeps secrets (\d+), with the series (\d+)'),
    'KUnit, arm64 at EL1, without the series': ('long/unpatched', r'(\d+ of \d+ defects shown; \d+ tests fail)'),
}


def summary(found, checks):
    """The rows of README.md, of one tree."""
    return {'Linux': re.sub(r'^Linux (\S+) .*', r'\1', found['linux']),
            **{row: cell(found, *what).replace('  ', ' ') for row, what in SUMMARY.items()},
            UNPATCHED: found[UNPATCHED],
            'all checks': all_checks(found, checks), MUTANTS: found[MUTANTS], HUNKS: found[HUNKS],
            'host': found['host'], 'tools': found['tools'], 'last run': found['last run']}


def write(name, text):
    with open(name + '.new', 'w') as f:
        f.write(text)
    os.replace(name + '.new', name)


def table(top):
    trees = sorted(os.listdir(os.path.join(top, 'trees')), key=lambda name: [int(n) for n in re.findall(r'\d+', name)])
    found, dates = {}, {}
    for tree in trees:
        old = lines(os.path.join(top, 'results', tree))
        if not old:
            continue
        found[tree], dates[tree] = rows_of(old[1:])
        for what, name in ((MUTANTS, 'TABLE'), (HUNKS, 'HUNKS')):
            found[tree][what] = mutants(top, name, tree, old[0])
        found[tree][UNPATCHED] = unpatched(top, tree)
    checks = sorted({check for tree in found for check in found[tree] if check not in ABOUT + [UNPATCHED, MUTANTS, HUNKS]})
    # As in 'make check-all', a long one takes the place of the short one
    checks = [check for check in checks if 'long/' + check not in checks]
    shown = {tree: summary(found[tree], checks) for tree in found}
    rows = ['| | ' + ' | '.join(found) + ' |', '|---' * (len(found) + 1) + '|']
    rows += [f'| {what} | ' + ' | '.join(shown[tree][what] for tree in found) + ' |' for what in next(iter(shown.values()))]
    text = '\n'.join(rows) + '\n'
    print(text, end='')
    readme = os.path.join(top, 'README.md')
    with open(readme) as f:
        before, rest = f.read().split(BEGIN)
    write(readme, before + BEGIN + '\n' + text + '\n' + END + rest.split(END, 1)[1])

    text = BEGIN + '# What each check has said\n'
    for tree in found:
        text += f'\n## {tree}\n\n| | | when |\n|---|---|---|\n'
        text += ''.join(f"| {what} | {found[tree].get(what, NOT_RUN)} | {dates[tree].get(what, '')} |\n"
                        for what in ABOUT + checks + [UNPATCHED, MUTANTS, HUNKS])
    write(os.path.join(top, 'results/README.md'), text)


if __name__ == '__main__':
    {'note': note, 'table': table}[sys.argv[1]](*sys.argv[2:])
