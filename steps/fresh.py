#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""fresh.py: hold patches/TREE against series/ where the base that they were made on is not there to make them anew

What each patch says, which files it brings and which lines it adds and takes away is compared, and not where in a file: that is
git's to find out of the base. Prints what is stale and exits with 1, or a summary.
"""
import collections
import os
import re
import subprocess
import sys
import tempfile

import series


def mail(path):
    """(message, {file: (is new, [lines added], [lines taken away])}) of a patch of git format-patch."""
    with tempfile.TemporaryDirectory() as folder:
        names = [os.path.join(folder, n) for n in ('message', 'patch')]
        with open(path, 'rb') as f:
            head = subprocess.run(['git', 'mailinfo', *names], stdin=f, stdout=subprocess.PIPE, check=True).stdout.decode()
        body, diff = [series.read(n) for n in names]
    subject = re.search(r'^Subject: (.*)$', head, re.M).group(1)
    return (subject + '\n\n' + body.strip('\n')).strip('\n') + '\n', changes(diff)


def changes(diff):
    files = {}
    for part in re.split(r'^diff --git ', diff, flags=re.M)[1:]:
        header, _, hunks = part.partition('\n@@')
        lines = [line for line in ('@@' + hunks).split('\n') if not line.startswith('@@')]
        files[header.split('\n')[0].split(' b/')[-1]] = (
            'new file mode' in header,
            [line[1:] for line in lines if line.startswith('+')], [line[1:] for line in lines if line.startswith('-')])
    return files


def net(added, taken):
    """Where lines are alike, git may find another of them to be the new one."""
    count = collections.Counter(added)
    count.subtract(taken)
    return {line: n for line, n in count.items() if n}


def complaint(path, there):
    """What of the commit that series/ has as PATH the patch THERE says or does otherwise, or None."""
    patch = series.Patch.parse(path)
    message, files = there
    if message.split() != patch.message.split():
        return 'has another message'
    hunks = changes(patch.hunks)
    if set(files) != set(hunks) | set(patch.adds):
        return 'changes other files'
    for name, (is_new, added, taken) in files.items():
        if is_new != (name in patch.adds):
            return '%s is %s file' % (name, 'a new' if is_new else 'no new')
        if is_new:
            text = series.one_side(name, series.new_file(name)).decode()
            same = added == text.rstrip('\n').split('\n')
        else:
            same = net(added, taken) == net(*hunks[name][1:])
        if not same:
            return '%s is another' % name
    return None


def main():
    folder = os.path.join(series.TOP, 'patches', series.TREE)
    commits = series.series_files()
    patches = [n for n in sorted(os.listdir(folder)) if n.endswith('.patch')] if os.path.isdir(folder) else []
    if len(patches) != len(commits):
        raise series.Failure('%d patches, and %d commits in series/' % (len(patches), len(commits)))
    for name, path in zip(patches, commits.values()):
        what = complaint(path, mail(os.path.join(folder, name)))
        if what:
            raise series.Failure('%s: %s than in %s' % (name, what, series.rel(path)))
    print('patches/%s has the lines of series/' % series.TREE)


if __name__ == '__main__':
    try:
        main()
    except series.Failure as failure:
        print('patches/%s is stale: run make patches TREE=%s\n  %s' % (series.TREE, series.TREE, failure))
        sys.exit(1)
