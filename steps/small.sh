# Sourced by checks of the front door itself: a copy of this repository and, in place of Linux, a git tree of the few
# files that the series touches. What the steps do to it they do to a whole tree.

# small FOLDER: makes FOLDER/linux and FOLDER/repo
small()
{
	local repo base
	"$top/steps/base" >/dev/null || exit
	repo=$(sed -n 's/^repo=//p' "$work/base") base=$(sed -n 's/^commit=//p' "$work/base")
	# Not every tree has all of them.
	mkdir "$1/linux" "$1/repo" && git -C "$1/linux" init -q && git --git-dir="$repo" ls-tree -r --name-only "$base" -- \
		Makefile Kbuild .gitattributes $(sed -n 's,^--- a/,,p' "$top"/series/*.patch "$top"/series/*/*.patch \
		2>/dev/null | sort -u) | xargs git --git-dir="$repo" archive "$base" | tar -x -C "$1/linux" ||
		die 1 "no small tree"
	identify "$1/linux" && git -C "$1/linux" add -f . && git -C "$1/linux" commit -qm base || die 1 "no small tree"
	(cd "$top" && { git ls-files -z; git ls-files -zo --exclude-standard; } | sort -zu |
		xargs -0 sh -c 'for f; do [ ! -e "$f" ] || cp -a --parents "$f" "$0"; done' "$1/repo") &&
		git -C "$1/repo" init -q && identify "$1/repo" && git -C "$1/repo" add -A &&
		git -C "$1/repo" commit -qm before || die 1 "no copy of the repository"
}

identify() { git -C "$1" config user.name tester && git -C "$1" config user.email tester@localhost; }
