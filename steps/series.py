#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""series/ <-> commits on a base <-> patches/

  series.py patches   write patches/TREE/ from series/
  series.py tree      bring the work tree to base + series
  series.py series    take the work tree's commits back into series/
  series.py commits   make the commits and list them in build/TREE/commits: id, file in series/, fix or other
  series.py state     say in a word how the work tree stands to series/: same, behind or edited

A file of series/ is one commit in mail format. Below its '---' stand 'Adds: PATH' lines, one for each new file, which
is taken whole from PATH in this repository, and then the hunks to files that Linux already has. They carry no index
lines, so that they do not change with the base. Where a new file asks by #ifdef about a symbol that trees/TREE calls
defined or undefined, the commit has the side that this tree needs, and series leaves the file the other one.

All commits are made in a scratch repository that borrows the base's objects: until everything is proven to apply,
nothing is written to the work tree, nor to a user's own tree.
"""
import difflib
import email.header
import email.utils
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time

import uncommented

TOP = os.environ['top']
TREE = os.environ['TREE']
LINUX = os.environ['LINUX']
WORK = os.environ['work']
WORKTREE = os.environ['linux']
SERIES = os.path.join(TOP, 'series')
BRANCH = 'pkvm-dma/' + TREE
# The tree that series/ itself is written for; others override a file where their hunks must differ.
FIRST_TREE = '6.12'

# What the user's own git configuration says must not change a byte of what we write.
ENV = {k: v for k, v in os.environ.items() if not k.startswith('GIT_')}
ENV.update(GIT_CONFIG_NOSYSTEM='1', GIT_CONFIG_GLOBAL='/dev/null', LC_ALL='C.UTF-8', TZ='UTC')


class Failure(Exception):
    pass


def git(*args, repo=None, env=None, data=None, check=True, cwd=None, user_config=False):
    full = dict(os.environ if user_config else ENV)
    full.update(env or {})
    cmd = ['git'] + (['--git-dir=' + repo] if repo else []) + list(args)
    if os.environ.get('V'):
        print('+ ' + ' '.join(cmd), file=sys.stderr)
    if isinstance(data, str):
        data = data.encode()
    run = subprocess.run(cmd, env=full, cwd=cwd, input=data if data is not None else b'',
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if check and run.returncode:
        raise Failure('%s: %s' % (' '.join(cmd), run.stderr.decode(errors='replace').strip()))
    run.text = run.stdout.decode('utf-8', 'replace')
    return run


def out(*args, **kw):
    return git(*args, **kw).text.rstrip('\n')


def read(path):
    with open(path, encoding='utf-8', newline='') as f:
        return f.read()


def write(path, text):
    """Leaves a file that already says so untouched, so that its time of change means something."""
    data = text.encode() if isinstance(text, str) else text
    if os.path.isfile(path) and not os.path.islink(path):
        with open(path, 'rb') as f:
            if f.read() == data:
                return False
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + '.new', 'wb') as f:
        f.write(data)
    os.replace(path + '.new', path)
    return True


def rel(path):
    return os.path.relpath(path, TOP) if path.startswith(TOP + '/') else path


def tree_file(key, tree=TREE):
    m = re.search(r'^%s\s*=\s*(.*)$' % key, read(os.path.join(TOP, 'trees', tree)), re.M)
    return m.group(1).split() if m else []


def skips():
    """{slug: why} of the commits that this tree does not take."""
    return dict(re.findall(r'^skip\s*=\s*(\S+)\s+(\S.*)$', read(os.path.join(TOP, 'trees', TREE)), re.M))


def new_file(path):
    with open(os.path.join(TOP, path), 'rb') as f:
        return f.read()


def one_side(path, data):
    """A new file as this tree has it: without what is for other trees."""
    flags = [flag + s for flag, key in (('-D', 'define'), ('-U', 'undefine')) for s in tree_file(key)
             if s.encode() in data]
    if not flags:
        return data
    run = subprocess.run(['unifdef', '-B', '-x2', *flags], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if run.returncode:
        raise Failure('%s: %s' % (path, run.stderr.decode(errors='replace').strip()))
    return run.stdout


# --- a file of series/ -----------------------------------------------------------------------------------------

class Patch:
    """One commit: author, date (git's raw form, '1700000000 +0100'), message, adds (paths), hunks (text)."""

    def text(self):
        subject, _, body = self.message.partition('\n')
        seconds, zone = self.date.split()
        head = ('From %s Mon Sep 17 00:00:00 2001\nFrom: %s\nDate: %s\nSubject: [PATCH] %s\n'
                % ('0' * 40, self.author, rfc2822(int(seconds), zone), subject))
        return '%s\n%s\n---\n%s%s%s' % (
            head, body.strip('\n'), ''.join('Adds: %s\n' % p for p in self.adds),
            '\n' if self.hunks else '', self.hunks)

    @classmethod
    def parse(cls, path):
        self, name = cls(), rel(path)
        head, blank, rest = read(path).partition('\n\n')
        message, dashes, diff = ('\n' + rest).partition('\n---\n')
        if not blank or not dashes:
            raise Failure("%s: not in mail format: headers, an empty line, the message, '---', hunks" % name)
        fields = {}
        for line in re.sub(r'\n[ \t]+', ' ', head).splitlines():
            key, colon, value = line.partition(': ')
            if colon:
                fields[key.lower()] = value.strip()
        for key in ('from', 'date', 'subject'):
            if not fields.get(key):
                raise Failure("%s: no '%s:' line" % (name, key.capitalize()))
        self.author = str(email.header.make_header(email.header.decode_header(fields['from'])))
        if not re.fullmatch(r'[^<>]+ <[^<>@ ]+@[^<>@ ]+>', self.author):
            raise Failure("%s: From: is not 'Name <address>'" % name)
        when = email.utils.parsedate_tz(fields['date'])
        if not when:
            raise Failure('%s: Date: is not a date' % name)
        offset = when[9] or 0
        self.date = '%d %s%02d%02d' % (email.utils.mktime_tz(when), '-' if offset < 0 else '+',
                                       abs(offset) // 3600, abs(offset) // 60 % 60)
        subject = re.sub(r'^\[[^]]*\]\s*', '', fields['subject'])
        self.message = (subject + '\n\n' + message.strip('\n')).strip('\n') + '\n'
        start = re.search(r'^diff --git ', diff, re.M)
        self.hunks = diff[start.start():] if start else ''
        self.adds = re.findall(r'^Adds: (\S+)$', diff[:start.start()] if start else diff, re.M)
        if not self.adds and not self.hunks:
            raise Failure('%s: changes nothing' % name)
        if re.search(r'^new file mode', self.hunks, re.M):
            raise Failure("%s: adds a file by hunks; new files stand whole in this repository: 'Adds: PATH'" % name)
        return self


def rfc2822(seconds, zone):
    offset = (int(zone[1:3]) * 60 + int(zone[3:])) * 60 * (-1 if zone[0] == '-' else 1)
    t = time.gmtime(seconds + offset)
    return '%s, %d %s %d %02d:%02d:%02d %s' % (
        'Mon Tue Wed Thu Fri Sat Sun'.split()[t.tm_wday], t.tm_mday,
        'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split()[t.tm_mon - 1], t.tm_year,
        t.tm_hour, t.tm_min, t.tm_sec, zone)


def series_files():
    """{name: path} of the commits that this tree takes, in order."""
    def folder(path):
        if not os.path.isdir(path):
            return {}
        return {n: os.path.join(path, n) for n in sorted(os.listdir(path)) if re.fullmatch(r'\d{4}-.+\.patch', n)}
    names = folder(SERIES)
    # The number only tells the order. It may change where a commit is put in between; the slug is the commit's name.
    by_slug = {n[5:-6]: n for n in names}
    for slug in skips():
        if slug not in by_slug:
            raise Failure('trees/%s: skip: there is no series/NNNN-%s.patch' % (TREE, slug))
        del names[by_slug.pop(slug)]
    for tree in tree_file('like') + [TREE]:
        for name, path in folder(os.path.join(SERIES, tree)).items():
            if name[5:-6] in by_slug:
                names[by_slug[name[5:-6]]] = path
            elif tree == TREE:
                raise Failure('%s: overrides nothing, this tree takes no series/NNNN-%s' % (rel(path), name[5:]))
    return names


# --- scratch: where commits are made and proven ----------------------------------------------------------------

class Scratch:
    def __init__(self):
        base = dict(line.split('=', 1) for line in read(os.path.join(WORK, 'base')).splitlines())
        self.borrowed, self.base, self.base_name = base['repo'], base['commit'], base['name']
        self.repo = os.path.join(WORK, 'scratch.git')
        shutil.rmtree(self.repo, ignore_errors=True)
        fmt = out('rev-parse', '--show-object-format', repo=self.borrowed)
        git('init', '-q', '--bare', '--template=', '--object-format=' + fmt, self.repo)
        write(os.path.join(self.repo, 'objects/info/alternates'), os.path.join(self.borrowed, 'objects') + '\n')
        if os.path.exists(os.path.join(self.borrowed, 'shallow')):
            shutil.copy(os.path.join(self.borrowed, 'shallow'), self.repo)
        # The kernel's own .gitattributes is not read in a bare repository, by some versions of git.
        write(os.path.join(self.repo, 'info/attributes'), '*.[ch] diff=cpp\n*.py diff=python\n')
        self.index = {'GIT_INDEX_FILE': os.path.join(self.repo, 'index')}
        git('cat-file', '-e', self.base + '^{tree}', repo=self.repo)

    def git(self, *args, **kw):
        return git(*args, repo=self.repo, env=dict(self.index, **kw.pop('env', {})), **kw)

    def out(self, *args, **kw):
        return self.git(*args, **kw).text.rstrip('\n')

    def build(self, files):
        """Commits the files of series/ on the base and returns [(name, Patch, commit)]."""
        self.git('read-tree', self.base)
        parent, commits = self.base, []
        for name, path in files.items():
            patch = Patch.parse(path)
            self.apply(patch, rel(path))
            author, address = re.fullmatch(r'(.+) <(.+)>', patch.author).groups()
            who = {}
            for role in 'AUTHOR', 'COMMITTER':
                who.update({'GIT_%s_NAME' % role: author, 'GIT_%s_EMAIL' % role: address,
                            'GIT_%s_DATE' % role: patch.date})
            tree = self.out('write-tree')
            parent = self.out('commit-tree', '-p', parent, tree, data=patch.message, env=who)
            commits.append((name, patch, parent))
        return commits

    def apply(self, patch, name):
        """Hunks and new files, to the index."""
        if patch.hunks:
            command = ['apply', '--cached', '--whitespace=error-all', '-']
            run = self.git(*command, data=patch.hunks, check=False)
            if run.returncode and TREE != FIRST_TREE:
                # What a line next to a change says may differ from tree to tree. patches/ is exact again: it is made
                # from the commits.
                run = self.git(*command, '-C1', data=patch.hunks, check=False)
            if run.returncode:
                raise Failure('%s does not apply to %s:\n%s' % (name, self.base_name, complaint(run)))
        for add in patch.adds:
            self.add(add, name)

    def add(self, path, name):
        source = os.path.join(TOP, path)
        if not os.path.isfile(source) or os.path.islink(source):
            raise Failure('%s: Adds: %s, which is no file of this repository' % (name, path))
        if self.out('ls-files', '--', ':(literal)' + path):
            raise Failure('%s: Adds: %s, which is already there; a change to it needs hunks' % (name, path))
        blob = self.out('hash-object', '-w', '--stdin', data=one_side(path, new_file(path)))
        mode = '100755' if os.access(source, os.X_OK) else '100644'
        self.git('update-index', '--add', '--cacheinfo', '%s,%s,%s' % (mode, blob, path))

    def format(self, commits):
        """{file name: text} of the mail patches that git am takes."""
        texts = {}
        for n, (name, patch, commit) in enumerate(commits, 1):
            text = self.git('-c', 'diff.algorithm=histogram', 'format-patch', '--stdout', '--zero-commit',
                            '--no-signature', '--full-index', '--no-renames', '--no-numbered', '--encode-email-headers',
                            '--subject-prefix=PATCH %d/%d' % (n, len(commits)) if len(commits) > 1 else
                            '--subject-prefix=PATCH', '-1', commit).stdout
            texts['%04d-%s' % (n, self.called(name, patch))] = text
        return texts

    def called(self, name, patch):
        """An override may have another subject."""
        subject = lambda p: p.message.split('\n', 1)[0]
        same = subject(patch) == subject(Patch.parse(os.path.join(SERIES, name)))
        return name[5:] if same else slug_of(subject(patch))

    def prove_am(self, texts, tip):
        """What git am makes of the patches, as the user will run it, is what was committed; whitespace is an error."""
        paths = self.out('diff', '--name-only', '--no-renames', self.base, tip).splitlines()
        work = os.path.join(WORK, 'am')
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work)
        mails = []
        for name, text in texts.items():
            mails.append(os.path.join(work + '.mail', name))
            write(mails[-1], text)
        env = {'GIT_WORK_TREE': work, 'GIT_INDEX_FILE': os.path.join(self.repo, 'am.index'),
               'GIT_COMMITTER_NAME': 'am', 'GIT_COMMITTER_EMAIL': 'am@localhost'}
        # Only the files that the series touches: a whole checkout would take a minute.
        sparse = ['-c', 'core.sparseCheckout=true']
        write(os.path.join(self.repo, 'info/sparse-checkout'), ''.join('/%s\n' % p for p in paths) or '/none\n')
        try:
            self.git('update-ref', 'refs/heads/am', self.base)
            self.git('symbolic-ref', 'HEAD', 'refs/heads/am')
            self.git(*sparse, 'read-tree', '-m', '-u', self.base, env=env, cwd=work)
            run = self.git(*sparse, '-c', 'core.bare=false', 'am', '-q', '--whitespace=error-all', *mails,
                           env=env, cwd=work, check=False)
            if run.returncode:
                raise Failure('git am of the patches fails on %s:\n%s' % (self.base_name, complaint(run)))
            if self.log('refs/heads/am') != self.log(tip):
                raise Failure('git am makes other commits of the patches than series/ says: a message that holds '
                              "'---' or a diff?")
        finally:
            shutil.rmtree(work, ignore_errors=True)
            shutil.rmtree(work + '.mail', ignore_errors=True)

    def log(self, tip):
        return commit_list(self.base, tip, self.repo)


def complaint(run):
    lines = (run.stderr.decode(errors='replace') + run.text).splitlines()
    return '\n'.join('  ' + line for line in lines if not line.startswith('hint: '))


def commit_list(base, tip, repo):
    """What a commit says, apart from who committed it when."""
    return out('log', '--reverse', '--format=%T%x00%an <%ae>%x00%ad%x00%B%x01', '--date=raw',
               '%s..%s' % (base, tip), repo=repo)


def build():
    scratch = Scratch()
    files = series_files()
    commits = scratch.build(files)
    tip = commits[-1][2] if commits else scratch.base
    texts = scratch.format(commits)
    scratch.prove_am(texts, tip)
    return scratch, commits, tip, texts


# --- patches ---------------------------------------------------------------------------------------------------

def recipients(scratch, texts):
    """To: and Cc: lines, from the base's own get_maintainer.pl and MAINTAINERS. Its history is not asked: a base of
    Debian's has none, and the list must be the same for everybody."""
    script = 'scripts/get_maintainer.pl'
    folder = os.path.join(WORK, 'recipients')
    shutil.rmtree(folder, ignore_errors=True)
    try:
        for path in script, 'MAINTAINERS', '.mailmap', '.get_maintainer.ignore':
            if scratch.out('ls-tree', '--name-only', scratch.base, '--', path):
                write(os.path.join(folder, path), scratch.git('cat-file', 'blob', scratch.base + ':' + path).stdout)
        for name, text in texts.items():
            write(os.path.join(folder, 'patches', name), text)

        def ask(*options):
            # HOME: somebody's own settings are not for the letter.
            run = subprocess.run(['perl', script, '--no-tree', '--no-git', '--no-git-fallback', '--no-fixes',
                                  '--no-rolestats', *options, *['patches/' + n for n in texts]],
                                 cwd=folder, env=dict(ENV, HOME=folder), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if run.returncode or run.stderr or not run.stdout:
                raise Failure('%s of %s: %s' % (script, scratch.base_name,
                                                run.stderr.decode(errors='replace').strip() or 'names nobody'))
            return sorted(set(run.stdout.decode().splitlines()), key=lambda s: s.strip('"').casefold())
        to = ask('--no-r', '--no-l')
        return ['To: ' + s for s in to] + ['Cc: ' + s for s in ask('--no-m') if s not in to]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def filled(text):
    """The letter with lines of 75 characters again, as numbers are shorter than the names that stood for them."""
    done, item, mark = [], [], r'( - | *\d+ to \d+   )?'

    def end():
        if item and not re.match('Subject|Cc', item[0]):
            indent = ' ' * len(re.match(mark, item[0]).group())
            item[:] = textwrap.wrap(' '.join([item[0]] + [line.strip() for line in item[1:]]), 75,
                                    subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        done.extend(item)
        del item[:]
    for line in text.split('\n'):
        if not line.strip() or re.match('Subject: |Cc: |@[A-Z]|==|http', line) or re.match(mark, line).group():
            end()
        if line.startswith('=='):
            done.append(line)
        elif line.strip():
            item.append(line)
        else:
            done.append(line)
    end()
    return '\n'.join(done)


def cover_letter(path, scratch, commits, tip, texts):
    fill = {
        '@BASE@': scratch.base_name,
        '@SHORTLOG@': scratch.out('shortlog', '-w72,2,4', '%s..%s' % (scratch.base, tip)),
        '@RECIPIENTS@': '\n'.join(recipients(scratch, texts)),
        '@DIFFSTAT@': scratch.out('diff', '--no-renames', '--stat=72', '--summary', scratch.base, tip),
    }
    # A commit is named by the start of its file's name, so that its number cannot be a stale one.
    def number(mark):
        found = [n for n, (name, _, _) in enumerate(commits, 1) if name[5:].startswith(mark.group(1))]
        if len(found) != 1:
            raise Failure('series/cover-letter.txt: %s: %d commits are called so' % (mark.group(), len(found)))
        return str(found[0])
    text = read(path).replace('@COUNT@', str(len(commits)))
    text = filled(re.sub(r'@([a-z0-9-]+)@', number, text))
    for mark, value in fill.items():
        text = text.replace(mark, value)
    return '\n'.join(line.rstrip() for line in text.splitlines()) + '\n'


def patches():
    # checks/patches-fresh compares, and writes elsewhere.
    folder = os.environ.get('PATCHES') or os.path.join(TOP, 'patches', TREE)
    scratch, commits, tip, texts = build()
    letter = os.path.join(SERIES, '' if TREE == FIRST_TREE else TREE, 'cover-letter.txt')
    if os.path.exists(letter):
        texts['cover-letter.txt'] = cover_letter(letter, scratch, commits, tip, texts)
    os.makedirs(folder, exist_ok=True)
    changed = [n for n, text in texts.items() if write(os.path.join(folder, n), text)]
    stale = [n for n in sorted(os.listdir(folder)) if n.endswith('.patch') and n not in texts]
    for name in stale:
        os.remove(os.path.join(folder, name))
    print('   %s: %d patches, %d files written, %d removed; git am takes them on %s' %
          (rel(folder), len(commits), len(changed), len(stale), scratch.base_name))


# --- tree ------------------------------------------------------------------------------------------------------

def inputs_key(base):
    """What the work tree is made from, as one hash."""
    key = hashlib.sha256(base.encode())
    files = series_files()
    for name, path in files.items():
        text = read(path)
        key.update(('\0%s\0%s' % (name, text)).encode())
        for add in re.findall(r'^Adds: (\S+)$', text, re.M):
            source = os.path.join(TOP, add)
            if os.path.isfile(source):
                key.update(b'\0%d\0' % os.access(source, os.X_OK) + one_side(add, new_file(add)))
    with open(__file__, 'rb') as f:
        key.update(f.read())
    return key.hexdigest()


def stamp(name, value=None):
    path = os.path.join(WORK, 'tree.' + name)
    if value is not None:
        write(path, value + '\n')
    return read(path).strip() if os.path.exists(path) else ''


def wt(*args, **kw):
    """git in the work tree, with the configuration of who works there."""
    return git(*args, cwd=WORKTREE, user_config=True, **kw)


def edits():
    """What the work tree holds that series/ does not know of, as lines for people."""
    if not os.path.exists(os.path.join(WORKTREE, '.git')):
        return []
    lines = []
    if os.path.exists(wt('rev-parse', '--path-format=absolute', '--git-path', 'rebase-merge').text.strip()) or \
       os.path.exists(wt('rev-parse', '--path-format=absolute', '--git-path', 'rebase-apply').text.strip()):
        lines.append('a rebase or an am that is not finished')
    # Untracked files are left alone by a change of commit; git itself refuses to write over one.
    lines += [s for s in wt('status', '--porcelain', '--untracked-files=no').text.splitlines()]
    head = wt('rev-parse', 'HEAD').text.strip()
    made = stamp('tip')
    if made and head != made:
        lines += wt('log', '--oneline', made + '..HEAD').text.splitlines() or ['the branch was set back']
    return lines


def tree():
    base = dict(line.split('=', 1) for line in read(os.path.join(WORK, 'base')).splitlines())
    lines = edits()
    force = os.environ.get('FORCE')
    if lines and not force:
        raise Failure("the work tree %s has what series/ does not have:\n%s\n"
                      "'make series' takes commits back; FORCE=1 drops them" %
                      (rel(WORKTREE), '\n'.join('  ' + s for s in lines[:10])))
    key = inputs_key(base['commit'])
    if not lines and stamp('key') == key and stamp('tip') and os.path.isdir(WORKTREE):
        print('   %s stands at the series already' % rel(WORKTREE))
        return
    scratch, commits, tip, texts = build()
    made = place(scratch, tip, force)
    stamp('key', key)
    stamp('tip', tip)
    stamp('base', scratch.base)
    print('   %s: %s and %d commits, %s' % (rel(WORKTREE), scratch.base_name, len(commits), made))


def place(scratch, tip, force):
    """The work tree goes to the new tip and only the files that differ are written, so that builds stay incremental."""
    branch = 'refs/heads/' + BRANCH
    if not os.path.exists(os.path.join(WORKTREE, '.git')):
        # Only with LINUX=: a linked work tree of the user's repository, on a branch of ours.
        there = git('rev-parse', '-q', '--verify', branch, repo=scratch.borrowed, check=False).text.strip()
        if there and there != stamp('tip') and not force:
            raise Failure('%s: has a branch %s that is not ours, as far as build/ knows; rename it, or FORCE=1 '
                          'writes over it' % (LINUX, BRANCH))
        git('worktree', 'prune', repo=scratch.borrowed)
        git('fetch', '-q', '--no-tags', '--no-write-fetch-head', scratch.repo, tip, repo=scratch.borrowed)
        git('worktree', 'add', '-q', '--force', '-B', BRANCH, WORKTREE, tip, repo=scratch.borrowed)
        return 'checked out on branch ' + BRANCH
    wt('fetch', '-q', '--no-tags', '--no-write-fetch-head', scratch.repo, tip)
    if force and wt('status', '--porcelain', '--untracked-files=no').text:
        wt('reset', '-q', '--hard')
    old = wt('rev-parse', 'HEAD').text.strip()
    changed = len(wt('diff', '--name-only', '--no-renames', old, tip).text.splitlines())
    on = wt('symbolic-ref', '-q', 'HEAD', check=False).text.strip()
    if on != branch:
        wt('update-ref', branch, old)
        wt('symbolic-ref', 'HEAD', branch)
    wt('reset', '-q', '--keep', tip)
    return '%d files changed' % changed


# --- series ----------------------------------------------------------------------------------------------------

def take_back():
    base = stamp('base')
    if not base or not os.path.exists(os.path.join(WORKTREE, '.git')):
        raise Failure("no work tree yet: 'make tree' makes it")
    dirty = wt('status', '--porcelain', '--untracked-files=normal').text.splitlines()
    if dirty:
        raise Failure('%s has changes that are not committed; a commit of the series is taken from a commit:\n%s' %
                      (rel(WORKTREE), '\n'.join('  ' + s for s in dirty[:10])))
    if wt('merge-base', '--is-ancestor', base, 'HEAD', check=False).returncode:
        raise Failure('%s: HEAD does not descend from the base %.12s' % (rel(WORKTREE), base))
    if wt('rev-list', '--merges', base + '..HEAD').text:
        raise Failure('%s: has a merge; the series is a line of commits' % rel(WORKTREE))
    commits = wt('rev-list', '--reverse', base + '..HEAD').text.split()
    taken, contents = [], {}
    for commit in commits:
        taken.append(take_commit(base, commit, contents))
    files = series_files()
    before = {a for p in files.values() for a in re.findall(r'^Adds: (\S+)$', read(p), re.M)}
    names = name_commits(taken, files)
    removed = [n for n in files if n not in names]
    if TREE != FIRST_TREE and (removed or len(names) > len(files)):
        raise Failure("commits come and go in %s; here they can only differ. Not in both: %s. 'skip' in "
                      'trees/%s leaves one out' % (FIRST_TREE, ' '.join(sorted(set(names) ^ set(files))), TREE))
    made = {path: whole(path, data) for path, (_, data) in contents.items()}
    changed = 0
    for name, patch, commit in zip(names, taken, commits):
        target = files.get(name) or os.path.join(SERIES, name)
        if TREE != FIRST_TREE and os.path.exists(target) and os.path.dirname(target) != os.path.join(SERIES, TREE):
            if serves(target, patch, commit):
                continue
            target = os.path.join(SERIES, TREE, name)
        changed += write(target, patch.text())
    for path, (mode, _) in contents.items():
        target = os.path.join(TOP, path)
        changed += write(target, made[path])
        os.chmod(target, 0o755 if mode == '100755' else 0o644)
    for path in sorted(before - set(contents)):
        print('   no commit adds %s any more; the file is still here' % path)
    for name in removed:
        os.remove(files[name])
    stamp('tip', wt('rev-parse', 'HEAD').text.strip())
    # What the work tree does not have yet is for 'make tree': an edit of the repository's file, or one side of what has two.
    same = all(one_side(path, made[path]) == data for path, (_, data) in contents.items())
    stamp('key', inputs_key(base) if same else '')
    print("   series: %d commits, %d files written, %d removed%s" %
          (len(taken), changed, len(removed), "; 'make patches' writes patches/ anew" if changed or removed else ''))


def take_commit(base, commit, contents):
    patch = Patch()
    patch.author, patch.date, patch.message = out(
        'log', '-1', '--date=raw', '--format=%an <%ae>%x00%ad%x00%B', commit, cwd=WORKTREE).split('\0')
    patch.message = patch.message.strip('\n') + '\n'
    label = '%.12s ("%s")' % (commit, patch.message.splitlines()[0])
    if re.search(r'^---$|^diff --git ', patch.message, re.M):
        raise Failure("%s: its message holds a line '---' or 'diff --git', where git am would cut it" % label)
    patch.adds, old = [], []
    raw = out('diff-tree', '-r', '--no-renames', '--no-commit-id', '-z', commit, cwd=WORKTREE).split('\0')
    for meta, path in zip(raw[0::2], raw[1::2]):
        _, mode, _, blob, kind = meta.split()
        if wt('cat-file', '-e', '%s:%s' % (base, path), check=False).returncode == 0:
            old.append(path)
        elif kind == 'A' and path not in contents and mode in ('100644', '100755'):
            if re.search(r'\s', path):
                raise Failure('%s: adds %r: a path with white space' % (label, path))
            patch.adds.append(path)
            contents[path] = mode, git('cat-file', 'blob', blob, cwd=WORKTREE).stdout
        else:
            raise Failure(
                '%s changes %s, a new file that another commit of the series adds. A new file stands once and whole '
                "in the repository, so one commit must bring it: fold the change into that one, e.g. by "
                "'git commit --fixup=…' and 'git rebase -i --autosquash'" % (label, path))
    patch.hunks = ''
    if old:
        # As git shows it in the kernel's tree, without the lines that change with the base's exact version.
        diff = out('-c', 'diff.algorithm=histogram', 'diff-tree', '-p', '--no-commit-id', '--no-renames', commit,
                   '--', *[':(literal)' + p for p in old], cwd=WORKTREE) + '\n'
        if re.search(r'^(Binary files|GIT binary patch|new mode|deleted file)', diff, re.M):
            raise Failure('%s: changes a mode, deletes a file of Linux or holds a binary: not supported' % label)
        patch.hunks = re.sub(r'^index [0-9a-f]+\.\.[0-9a-f]+( \d+)?\n', '', diff, flags=re.M)
    return patch


def whole(path, data):
    """What a new file becomes in the repository: where it has sides for other trees as well, the work tree's edit is merged
    into it."""
    if not os.path.isfile(os.path.join(TOP, path)):
        return data
    here = new_file(path)
    side = one_side(path, here)
    if side == here:
        return data
    old = wt('cat-file', 'blob', '%s:%s' % (stamp('tip'), path), check=False).stdout
    if data in (side, old):
        return here
    with tempfile.TemporaryDirectory() as folder:
        texts = {os.path.join(folder, name): text for name, text in (('here', here), ('old', old), ('there', data))}
        for name, text in texts.items():
            write(name, text)
        run = git('merge-file', '-p', *texts, check=False)
    # Both may have been edited: neither edit may go.
    if run.returncode or one_side(path, run.stdout) != one_side(path, data):
        lines = difflib.unified_diff(*[text.decode(errors='replace').splitlines() for text in (side, data)], lineterm='', n=0)
        raise Failure("%s: has sides for other trees, too, and the work tree's edit cannot be merged into them. Make the edit "
                      "in the repository's file as well, so that its side for %s is the same, then 'make series' again:\n%s" %
                      (path, TREE, '\n'.join(list(lines)[2:])))
    return run.stdout


def serves(path, patch, commit):
    """Whether the text that is there makes this commit, on a tree that it was not written for."""
    there = Patch.parse(path)
    if (there.message, there.author, there.date, there.adds) != (patch.message, patch.author, patch.date, patch.adds):
        return False
    there.adds, adds = [], there.adds
    scratch = Scratch()
    scratch.git('fetch', '-q', '--no-tags', '--no-write-fetch-head', WORKTREE, commit)
    scratch.git('read-tree', commit + '^')
    try:
        scratch.apply(there, rel(path))
    except Failure:
        return False
    made = scratch.git('diff', '--cached', '--quiet', commit, '--', *[':(exclude,literal)' + a for a in adds],
                       check=False)
    return made.returncode == 0


def name_commits(taken, files):
    """A commit keeps its file as long as its subject, or else author and date, still tell which it was; a number
    changes only where the order leaves no room for the old one."""
    known = {n: Patch.parse(p) for n, p in files.items()}
    subject = lambda p: p.message.split('\n', 1)[0]
    names, free, last = [None] * len(taken), dict(known), 0
    for same in (subject, lambda p: (p.author, p.date)):
        for i, patch in enumerate(taken):
            hits = [n for n, k in free.items() if same(k) == same(patch)]
            if names[i] is None and len(hits) == 1:
                names[i] = hits[0]
                del free[hits[0]]
    for i, patch in enumerate(taken):
        number = int(names[i][:4]) if names[i] else 0
        keep = names[i] and (TREE != FIRST_TREE or subject(known[names[i]]) == subject(patch))
        slug = names[i][5:] if keep else slug_of(subject(patch))
        last = number if number > last else last + 1
        names[i] = '%04d-%s' % (last, slug)
    return names


def slug_of(subject):
    return re.sub(r'[^A-Za-z0-9]+', '-', subject).strip('-')[:56].rstrip('-').lower() + '.patch'


def commits():
    """For who builds every commit: scratch.git holds them until the next run."""
    scratch, made, tip, _ = build()
    also = tree_file('fixes', FIRST_TREE) + tree_file('fixes')
    lines = ['%s base other' % scratch.base]
    for name, patch, commit in made:
        fix = re.search(r'^Fixes: ', patch.message, re.M) or name[5:-6] in also
        lines.append('%s %s %s' % (commit, name[:-6], 'fix' if fix else 'other'))
    write(os.path.join(WORK, 'commits'), '\n'.join(lines) + '\n')
    write(os.path.join(WORK, 'source'), ''.join(source_of(scratch, commit) + '\n' for _, _, commit in made))


def source_of(scratch, commit):
    """A hash of what can be built and run of a commit: all but its documents and comments."""
    changed = scratch.out('diff', '--name-only', '--no-renames', scratch.base, commit,
                          '--', ':!Documentation', ':!MAINTAINERS').splitlines()
    kept = uncommented.listing(scratch.repo, scratch.base, commit, *changed)
    about = [scratch.out('rev-parse', scratch.base + '^{tree}'), *changed, *kept]
    return hashlib.sha256('\n'.join(about).encode()).hexdigest()[:32]


def state():
    base = dict(line.split('=', 1) for line in read(os.path.join(WORK, 'base')).splitlines())
    if edits():
        print('edited')
    else:
        print('same' if stamp('key') == inputs_key(base['commit']) else 'behind')


COMMANDS = {'patches': patches, 'tree': tree, 'series': take_back, 'commits': commits, 'state': state}

if __name__ == '__main__':
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    try:
        COMMANDS[sys.argv[1]](*sys.argv[2:])
    except Failure as failure:
        print('%s: %s' % (sys.argv[1], failure), file=sys.stderr)
        sys.exit(125)
    except OSError as error:
        # A full disk, a folder of somebody else's
        print('%s: %s' % (sys.argv[1], error), file=sys.stderr)
        sys.exit(125)
