# Sourced by what builds other commits than the work tree's: a second work tree, so that nobody's edits are in it and
# nobody's are disturbed. It is called linux too, below another folder: so ccache finds in it what was built there.

tested=$work/check/linux
# What is proven of a commit is proven by all tests, whatever the loop of work leaves out
unset TESTS

# commits: lists id, file of series/ and fix or other, a line each; the base first
commits()
{
	"$top/steps/tree" commits >"$work/commits.log" || exit
	cat "$work/commits"
}

# checkout COMMIT: only files that differ are written, so builds stay incremental
checkout()
{
	local repo
	if [ ! -e "$tested/.git/complete" ]; then
		free_space "$work/check" 4 "a second work tree"
		repo=$(sed -n 's/^repo=//p' "$work/base")
		rm -rf "$tested" && git init -q --template= "$tested" &&
			echo "$repo/objects" >"$tested/.git/objects/info/alternates" || die 125 "$tested: cannot be made"
		[ ! -f "$repo/shallow" ] || cp "$repo/shallow" "$tested/.git/"
	fi
	{
		git -C "$tested" cat-file -e "$1^{commit}" 2>/dev/null ||
			git -C "$tested" fetch -q --no-tags "$work/scratch.git" "$1"
	} && git -C "$tested" checkout -q --force --detach "$1" && git -C "$tested" clean -qfd ||
		die 125 "$1: cannot be checked out in $(short "$tested")"
	touch "$tested/.git/complete"
}

# checkout_tip: the whole series, which is nobody else's until this shell ends; its commit is left in tip
checkout_tip()
{
	lock "$work/check.lock"
	tip=$(commits | tail -n 1 | cut -d' ' -f1) && checkout "$tip" || exit
}

# tip_kernel [CONFIG]: that as an arm64 kernel for a protected guest; its build folder is left in kernel
tip_kernel()
{
	checkout_tip
	kernel=$work/check/kunit-arm64${1:+-${1##* }}
	ARCH=arm64 "$top/steps/kunit" --source "$tested" --build "$kernel" --name "tip-$step" ${1:+--config "$1"} --build-only || exit
}

# touched FROM TO: C files that differ and are built into the kernel
touched()
{
	git -C "$tested" diff --name-only --diff-filter=d "$1" "$2" -- '*.c' ':!tools' ':!Documentation' ':!samples'
}

# objects ARCH FILE...: of the files that the last build made objects of; others are of another architecture, or are
# included by one that is built. (An object that is there may be a leftover.)
objects()
{
	local arch=$1 file
	shift
	for file; do
		[ -f "$tested/$file" ] && grep -qE "\"file\": \".*/linux/$file\"" "$work/check/kunit-$arch/compile_commands.json" &&
			echo "${file%.c}.o"
	done
}

# kernel_make ARCH ARGUMENT...: the kernel's make as kunit.py calls it
kernel_make()
{
	local arch=$1 prefix
	shift
	prefix=$(cross "$arch")
	CCACHE_DIR=$build/ccache CCACHE_BASEDIR=${tested%/*} make -s -C "$tested" "ARCH=$arch" \
		"O=$work/check/kunit-$arch" "-j$jobs" "CC=ccache ${prefix}gcc" "HOSTCC=ccache gcc" "CROSS_COMPILE=$prefix" "$@"
}
