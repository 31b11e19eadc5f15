#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""tests_code.py REPO COMMIT SUITE.TEST...: the code of KUnit tests of kernel/dma/tests, for a key of what they have caught.

Prints these tests and all that they call, or take the value of, as COMMIT has it there, without comments: what stands beside it, a
new test for one, does not change what is printed. What the kernel has besides is not looked at.
"""
import re
import subprocess
import sys

from uncommented import code

FOLDER = 'kernel/dma/tests/'
# Before and after each test, and its parameter
ALWAYS = ('dma_test_init', 'dma_test_exit', 'dma_platforms')
STRING = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'')
WORD = re.compile(r'[A-Za-z_]\w*')


def parts(text):
    r"""A C file without comments, cut at the end of each definition.

    >>> parts('#include <a.h>\n#define A(b) \\\n\t(b)\nstatic int f(int a)\n{\n\tif (a) {\n\t}\n}\nstruct s {\n\tint a;\n} *v;\nint w;')
    ['#include <a.h>', '#define A(b) \\\n\t(b)', 'static int f(int a)\n{\n\tif (a) {\n\t}\n}', 'struct s {\n\tint a;\n} *v;', 'int w;']
    """
    found, lines, depth = [], [], 0
    for line in text.split('\n'):
        lines.append(line)
        if lines[0].startswith('#'):
            if line.endswith('\\'):
                continue
        else:
            bare = STRING.sub('""', line)
            depth += bare.count('{') + bare.count('(') - bare.count('}') - bare.count(')')
            if depth or not bare.endswith((';', '}')):
                continue
        found.append('\n'.join(lines))
        lines = []
    return found + (['\n'.join(lines)] if lines else [])


def names(part):
    r"""What a part of a file defines or declares.

    >>> names('#define A(b) (b)'), names('static int f(int a)\n{\n}'), names('struct s {\n\tint a;\n} *v;'), names('struct s;')
    (['A'], ['f'], ['s', 'v'], [])
    >>> names('static const size_t sizes[] = {\n\t1,\n};'), names('enum { A, B };'), names('extern const struct p q[N];')
    (['sizes'], ['A', 'B'], ['q'])
    >>> names('KUNIT_ARRAY_PARAM_DESC(a, b, name);'), names('#ifdef A')
    ([], [])
    """
    if part.startswith('#'):
        return re.findall(r'^#\s*define\s+(\w+)', part)
    head, brace, rest = part.partition('{')
    before = head.partition('=')[0]
    kind = re.match(r'(?:static\s+)?(?:const\s+)?(struct|union|enum)\s*(\w*)\s*$', before)
    if brace and kind and '=' not in head:
        inside, _, after = rest.rpartition('}')
        members = WORD.findall(re.sub(r'=[^,}]*', '', inside)) if kind[1] == 'enum' else []
        return [name for name in [kind[2]] + members + WORD.findall(after) if name]
    call = re.match(r'[^(]*?(\w+)\s*\(', before)
    if call:
        return [call[1]] if WORD.findall(before[:call.start(1)]) else []
    words = WORD.findall(before.partition('[')[0])
    return words[-1:] if len(words) > 1 and not (len(words) == 2 and words[0] in ('struct', 'union', 'enum')) else []


def made_of(files, path, roots):
    """What @roots of the file @path are made of. @files: {path: text without comments}.

    >>> files = {'a.c': 'static int g(void)\\n{\\n}\\nstatic void t(int test)\\n{\\n\\tg();\\n\\th();\\n}\\nstatic void u(int test)\\n{\\n}',
    ...          'b.c': 'int h(void)\\n{\\n}\\nstatic int g(void)\\n{\\n\\treturn 1;\\n}'}
    >>> [part.split('(')[0] for part in made_of(files, 'a.c', ['t'])]
    ['int h', 'static int g', 'static void t']
    """
    defined = {}
    for file, text in files.items():
        for part in parts(text):
            for name in names(part):
                defined.setdefault(name, []).append((file, part))
    seen, left = set(), [(path, root) for root in roots]
    while left:
        file, name = left.pop()
        # A name of its own file hides another one's
        found = [one for one in defined.get(name, []) if one[0] == file] or defined.get(name, [])
        for one in found:
            if one not in seen:
                seen.add(one)
                left += [(one[0], word) for word in set(WORD.findall(one[1]))]
    return sorted(part for _, part in seen)


def main(repo, commit, *tests):
    def git(*arguments):
        return subprocess.run(['git', '-C', repo, *arguments], check=True, capture_output=True).stdout

    files = {path: code(git('show', commit + ':' + path)).decode()
             for path in git('ls-tree', '--name-only', commit, FOLDER).decode().split('\n') if path.endswith(('.c', '.h'))}
    for test in tests:
        suite, _, name = test.partition('.')
        path = [path for path, text in files.items() if f'.name = "{suite}"' in text]
        found = made_of(files, path[0], [name, *ALWAYS]) if path else []
        if not any(name in names(part) for part in found):
            sys.exit(f'{test}: no such test in {FOLDER}')
        print('\n'.join(found))


if __name__ == '__main__':
    main(*sys.argv[1:])
