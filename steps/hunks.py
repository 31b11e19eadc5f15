#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""hunks.py REPO BASE TIP DIR: every place at which the fixes change Linux, each as a patch of its own against TIP.

Writes DIR/KEY.patch, which turns the place back, to be applied with --unidiff-zero, and prints 'KEY PATH LINE SUBJECT' lines separated by
tabs, SUBJECT being that of the commit that has the place as it is. KEY is made of the code that is changed, so it outlives
changes elsewhere in the file, and of comments. Places that only touch comments and includes, or that stand there for the
tests, are left out.
"""
import hashlib
import os
import re
import subprocess
import sys

PATHS = ['*.c', '*.h', '*Kconfig', ':!kernel/dma/Kconfig', ':!Documentation', ':!tools', ':!samples', ':!kernel/dma/tests']
FOR_TESTS = re.compile(r'tests/|CONFIG_DMA_KUNIT_TEST')
HEAD = re.compile(r'@@ -(\d+)(?:,\d+)? \+(\d+)(?:,(\d+))? @@')


def git(repo, *arguments):
    return subprocess.run(['git', '-C', repo, *arguments], check=True, capture_output=True, text=True).stdout


def hunks(diff):
    """Yields (path, header line, changed lines)."""
    path, body = None, None
    for line in diff.splitlines():
        if line.startswith('diff --git '):
            path, body = None, None
        elif line.startswith('+++ ') and body is None:
            path = line[6:]
        elif line.startswith('@@'):
            body = []
            yield path, line, body
        elif body is not None:
            body.append(line)


def is_code(line):
    """Not blank, no line of a comment as the kernel writes them, and not what makes names known only."""
    return not re.match(r'\s*($|/\*.*\*/\s*$|/\*\*?\s*$|\*/|\*[ \t]|\*$|/\* |#(include |endif)|struct \w+;)', line)


def commit_of(repo, tip, path, first, count):
    """The last commit that wrote one of these lines; of lines that are only gone, nobody knows."""
    if not count:
        return '-'
    blame = git(repo, 'blame', '--porcelain', '-L', f'{first},+{count}', tip, '--', path)
    subjects = {}
    order = git(repo, 'rev-list', '--topo-order', '-n', '200', tip).split()
    commit = None
    for line in blame.splitlines():
        if re.match(r'[0-9a-f]{40} ', line):
            commit = line.split()[0]
        elif line.startswith('summary '):
            subjects[commit] = line[8:]
    return subjects[min(subjects, key=lambda c: order.index(c) if c in order else len(order))]


def main():
    repo, base, tip, out = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    # New files are left out: what is new has its wrong versions by hand.
    diff = git(repo, 'diff', '-U0', '--diff-filter=M', base, tip, '--', *PATHS)
    every = [hunk for hunk in hunks(diff)]
    seen = {}
    for path, head, body in every:
        changed = [line[1:] for line in body if line[0] in '+-']
        if not any(map(is_code, changed)) or all(FOR_TESTS.search(line) for line in changed if is_code(line)):
            continue
        key = hashlib.sha256('\n'.join([path, *(line for line in body if is_code(line[1:]))]).encode()).hexdigest()[:8]
        # The same change twice in a file: the first, the second, …
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 1:
            key += f'-{seen[key]}'
        match = HEAD.match(head)
        first, count = int(match[2]), int(match[3] or 1)
        turned = [line[1:] for line in body if line[0] == '-']
        # git apply goes by the second number; where nothing goes, what comes is put behind the line of the first
        head = f'@@ -{first},{count} +{first if count else first + 1},{len(turned)} @@'
        with open(os.path.join(out, key + '.patch'), 'w') as patch:
            patch.write('\n'.join([f'--- a/{path}', f'+++ b/{path}', head, *('-' + line[1:] for line in body if line[0] == '+'),
                                   *('+' + line for line in turned)]) + '\n')
        print(key, path, first, commit_of(repo, tip, path, first, count), sep='\t')


if __name__ == '__main__':
    main()
