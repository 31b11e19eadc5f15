# Sourced by every step: where things are, how messages look, how a step ends.
#
# Exit statuses, all below 128 so that git bisect run takes them:
#   0 pass   1 a test failed   3 panic, oops, WARN or sanitizer report   124 time-out
#   125 cannot be judged: does not apply, does not build, or something that it needs is missing

set -u -o pipefail
export LC_ALL=C.UTF-8
# A git hook or an alias that calls us must not point our git at its own repository.
unset "${!GIT_@}" CDPATH
# Nor must our make's variables reach the kernel's make, nor an ARCH that it exports and nobody has set.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL
[ -n "${ARCH:-}" ] || unset ARCH

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
step=${0##*/}
self="$(realpath --relative-to="$top" "$0")${*:+ $*}"
TREE=${TREE:-6.12}
LINUX=${LINUX:-}
V=${V:-}
build=${BUILD:-$top/build}
jobs=$(nproc)
# ccache goes by the dependencies that the kernel's make asks of the compiler, and not by running the preprocessor first: a quarter
# less work for what it has not seen. steps/cc/ccache says what that must not be used for.
export CCACHE_DEPEND=1
case $PATH in *"$top/steps/cc:"*) ;; *) export PATH=$top/steps/cc:$PATH ;; esac

say()  { printf '%s\n' "$*"; }
step() { printf '== %s\n' "$*"; }
warn() { printf '%s: %s\n' "$step" "$*" >&2; }

# die STATUS MESSAGE...
die()
{
	local status=$1
	shift
	printf '%s: %s\n' "$step" "$*" >&2
	exit "$status"
}

# In a message a path is as short as it can be.
short() { printf '%s' "${1#"$top"/}"; }

# again prints how to run just this step once more, with the variables that matter.
again()
{
	local v out=
	for v in TREE LINUX ARCH TESTS; do
		[ -n "${!v:-}" ] && out+="$v=$(printf %q "${!v}") "
	done
	printf '%s%s' "$out" "${again:-$self}"
}

# Dollars of the tree file are not expanded: it is data.
tree_get() { sed -n "s/^$1[[:space:]]*=[[:space:]]*//p" "$top/trees/$TREE"; }

case $build in
*[[:space:]:]*) die 125 "$build: the kernel's make works in no folder whose path has a space or a colon" ;;
esac
case $TREE in
*[!0-9A-Za-z.-]* | .*) die 125 "TREE=$TREE: unknown. Known: $(cd "$top/trees" && echo *)" ;;
esac
[ -f "$top/trees/$TREE" ] || die 125 "TREE=$TREE: unknown. Known: $(cd "$top/trees" && echo *)"

# Everything about one tree is in one folder; a user's own tree gets its own, named after its path.
work=$build/$TREE
if [ -n "$LINUX" ]; then
	[ -d "$LINUX" ] || die 125 "LINUX=$LINUX: no such directory"
	LINUX=$(cd "$LINUX" && pwd -P)
	name=${LINUX##*/}
	work+=-${name//[!A-Za-z0-9._-]/_}-$(printf %s "$LINUX" | cksum | cut -d' ' -f1)
fi
linux=$work/linux
export TREE LINUX work linux top

# watched LOG WHAT COMMAND...: runs COMMAND with all it prints in LOG and shows that it is alive; returns its status.
watched()
{
	local log=$1 what=$2 status
	shift 2
	mkdir -p "${log%/*}"
	if [ -n "$V" ]; then
		printf '+' && printf ' %q' "$@" && echo
		"$@" </dev/null 2>&1 | tee "$log"
		return
	fi
	set -m # a process group of its own, for stop
	"$@" </dev/null >"$log" 2>&1 &
	running=$!
	set +m
	beat "$what" "$log" "$running" &
	beater=$!
	wait "$running"
	status=$? running=
	kill "$beater" 2>/dev/null
	wait "$beater" 2>/dev/null
	beater=
	[ ! -t 1 ] || printf '\r\033[K'
	return "$status"
}

# Whoever is stopped takes with him what he started: bash has its background jobs ignore a Ctrl-C.
stop()
{
	trap - INT TERM HUP
	[ -z "$running" ] || kill -TERM -- "-$running" 2>/dev/null
	[ -z "$beater" ] || kill "$beater" 2>/dev/null
	kill "-$1" "$BASHPID"
}
running='' beater=''
trap 'stop INT' INT
trap 'stop TERM' TERM
trap 'stop HUP' HUP

# On a terminal one line that changes; in a log one line each half minute. It waits in bash itself, on a pipe that
# never says anything: a sleep would outlive it and hold our locks and our reader's pipe.
beat()
{
	local what=$1 log=$2 pid=$3 start=$SECONDS now idle pause=30
	trap - INT TERM HUP
	exec {idle}<> <(:)
	[ ! -t 1 ] || pause=1
	while ! read -r -t "$pause" -u "$idle" now; do
		kill -0 "$pid" 2>/dev/null || return
		now=$(tail -n 1 "$log" | tr -d '\r' | cut -c1-80)
		now="   $what: $((SECONDS - start)) s${now:+, $now}"
		if [ -t 1 ]; then
			printf '\r\033[K%s' "${now:0:${COLUMNS:-80}-1}"
		else
			say "$now"
		fi
	done
}

# logged LOG WHAT COMMAND...: watched, and a word on how it went.
logged()
{
	local start=$SECONDS status
	watched "$@"
	status=$?
	if [ "$status" -eq 0 ]; then
		say "   $2: $((SECONDS - start)) s"
	else
		report "$2: failed (status $status)" "$1"
	fi
	return "$status"
}

# report WHAT LOG: the form of every failure.
report()
{
	{
		say "$1"
		say "--- last lines of the log"
		tail -n 30 "$2" | tr -d '\r'
		say "--- whole log: $(short "$2")"
		say "--- again:     $(again)"
	} >&2
}

# free_space FOLDER GB WHAT
free_space()
{
	local have
	mkdir -p "$1" || die 125 "$1: cannot be made"
	have=$(df -Pk "$1" | awk 'NR == 2 { print int($4 / 1048576) }')
	[ "$have" -ge "$2" ] ||
		die 125 "no disk space: $3 needs $2 GB under $(short "$1"), $have GB are free"
}

# lock FILE: two runs in one work tree would each build half of the other's edit.
lock()
{
	case :${LOCKED:-}: in
	*":$1:"*) return 0 ;;
	esac
	local fd
	mkdir -p "${1%/*}" || die 125 "${1%/*}: cannot be made"
	{ exec {fd}>"$1"; } 2>/dev/null || die 125 "$(short "$1"): cannot be written"
	flock -n "$fd" || { say "   waiting for another run that holds $(short "$1")"; flock "$fd"; }
	export LOCKED=${LOCKED:-}:$1
}

# each_tree COMMAND...: on each of TREES, by default all, with what belongs to a tree set to it; returns the worst status. A tree
# that the archive has no more is left out.
each_tree()
{
	local worst=0 seen=0 status
	[ "${TREES:-all}" != all ] || TREES=$(cd "$top/trees" && echo *)
	for TREE in $TREES; do
		[ -f "$top/trees/$TREE" ] || die 125 "TREES: no tree is called $TREE; there are: $(cd "$top/trees" && echo *)"
	done
	need tree
	for TREE in $TREES; do
		export TREE work=$build/$TREE linux=$build/$TREE/linux
		if ! "$top/steps/base"; then
			[ -f "$work/base.gone" ] && say "$TREE is left out" || worst=125
			continue
		fi
		seen=$((seen + 1))
		"$@"
		status=$?
		[ "$status" -le "$worst" ] || worst=$status
	done
	[ "$seen" -gt 0 ] || die 125 "no tree could be had"
	return "$worst"
}

# table FILE: where the table FILE.md is written on this tree: trees but the first have one each, and what is found out of a user's
# own tree stays in its folder
table()
{
	local file=$top/$1
	[ "$TREE" = 6.12 ] || file+=-$TREE
	[ -z "$LINUX" ] || file=$work/${1##*/}
	echo "$file.md"
}

# known_checks NAME...: ends the step unless checks/ has them
known_checks()
{
	local name
	for name; do
		[ -f "$top/checks/$name" ] && [ -x "$top/checks/$name" ] || die 125 "CHECKS: no check is called $name; there are:" \
			"$(cd "$top/checks" && find -L . -maxdepth 2 -type f -printf '%P\n' | sort | paste -sd ' ')"
	done
}

# need PURPOSE...: the programs that a step calls
need() { "$top/steps/packages" "$@" || exit; }

# other_kernel CONSOLE BUILD: the banner of the kernel that ran, if it is not the one that was built in BUILD. An old image has been
# seen to run: what it does says nothing of the source.
other_kernel()
{
	local banner linked
	banner=$(grep -aom 1 'Linux version .*' "$1" 2>/dev/null)
	linked=$(sed -n 's/^#define UTS_VERSION "\(.*\)"$/\1/p' "$2/include/generated/utsversion.h" 2>/dev/null)
	case $banner in '' | *"$linked"*) return 1 ;; esac
	echo "$banner"
}

# cross ARCH: the compiler's prefix on this machine, empty where it is native
cross()
{
	case $1:$(uname -m) in
	arm64:aarch64 | x86_64:x86_64) ;;
	arm64:*) echo aarch64-linux-gnu- ;;
	x86_64:*) echo x86-64-linux-gnu- ;;
	esac
}
