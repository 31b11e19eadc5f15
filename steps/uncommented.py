#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""uncommented.py REPO BASE COMMIT [PATH...]: what there is to build of COMMIT, below each PATH, for a key of what was found out of it.

Prints what 'git ls-tree -r' does, but for C files that BASE has not, or has otherwise: of these, a hash that does not change with
what their comments say, so that a comment is mended without a hundred builds being made anew.
"""
import hashlib
import re
import subprocess
import sys

# A string may hold what looks like a comment
TOKEN = re.compile(rb'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.S)


def git(repo, *arguments, data=None):
    return subprocess.run(['git', '-C', repo, *arguments], check=True, capture_output=True, input=data).stdout


def code(text):
    r"""C without comments, and without the empty lines and the white space that they leave.

    >>> code(b'int a; /* one\n * and two */\n// three\n\n\tint b;\n')
    b'int a;\n\tint b;'
    >>> code(b'char *a = "/* \\" no */"; /* yes */')
    b'char *a = "/* \\" no */";'
    >>> code(b"char a = '\"'; /* yes \" */")
    b'char a = \'"\';'
    >>> code(b'int a;') == code(b'int b;')
    False
    """
    bare = TOKEN.sub(lambda token: b' ' if token[0].startswith(b'/') else token[0], text)
    return b'\n'.join(line.rstrip() for line in bare.split(b'\n') if line.strip())


def hashes(repo, blobs):
    """{blob: hash of its code}, all by one git."""
    found, out = {}, git(repo, 'cat-file', '--batch', data=''.join(blob + '\n' for blob in blobs).encode())
    for blob in blobs:
        about, out = out.split(b'\n', 1)
        size = int(about.split()[2])
        found[blob], out = hashlib.sha256(code(out[:size])).hexdigest(), out[size + 1:]
    return found


def listing(repo, base, commit, *paths):
    """As 'git ls-tree -r' has it, a list of lines."""
    changed = set(git(repo, 'diff', '--name-only', '--no-renames', '-z', base, commit, '--', *paths).decode().split('\0'))
    entries = [entry.split('\t') for entry in git(repo, 'ls-tree', '-r', '-z', commit, '--', *paths).decode().split('\0')[:-1]]
    blob = {path: about.split()[2] for about, path in entries if path in changed and path.endswith(('.c', '.h'))}
    found = hashes(repo, sorted(set(blob.values())))
    return [about.replace(blob[path], found[blob[path]]) + '\t' + path if path in blob else about + '\t' + path
            for about, path in entries]


if __name__ == '__main__':
    print('\n'.join(listing(*sys.argv[1:])))
