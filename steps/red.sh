# Sourced by what builds the series wrong, or without its fixes, and asks which tests go red, and by what takes hours to find
# something out and remembers it. Of a test with parameters, the test is named.

# recall KIND SOME: what was found out on another machine: results/KIND-TREE has a line for each file that is kept in $found.
# FORCE=1 forgets all, unless only SOME are run.
recall()
{
	local name kept all=${FORCE:+${2:-all}}
	[ "$all" != all ] || rm -rf "$found"
	mkdir -p "$found" || die 125 "$(short "$found"): cannot be made"
	[ "$all" != all ] && [ -f "$top/results/$1-$TREE" ] || return 0
	while IFS=$'\t' read -r name kept; do
		[ -e "$found/$name" ] || printf '%s\n' "${kept//$'\t'/$'\n'}" >"$found/$name"
	done <"$top/results/$1-$TREE"
}

# remember KIND FILE...: has the next machine know of these, and of no others
remember()
{
	local kind=$1 name
	shift
	# A tree of the user's own is nobody else's
	[ -z "$LINUX" ] || return 0
	for name; do
		printf '%s\t%s\n' "${name##*/}" "$(paste -sd '\t' "$name")"
	done | sort -u >"$top/results/$kind-$TREE.new"
	mv "$top/results/$kind-$TREE.new" "$top/results/$kind-$TREE"
}

# remember_more KIND FILE...: of these, too
remember_more()
{
	local kind=$1 had=()
	shift
	mapfile -t had < <(cut -f1 "$top/results/$kind-$TREE" 2>/dev/null)
	remember "$kind" "${had[@]/#/$found/}" "$@"
}

# put_in PATCH OPTION...: what mutants/TREE has under its name, or mutants/ of a tree that is like it; or else the diff itself,
# which is against the tip of 6.12: other trees have other lines around it
put_in()
{
	local patch=$1 like
	for like in $(sed -n 's/^like = //p' "$top/trees/$TREE") "$TREE"; do
		[ ! -f "${1%/*}/$like/${1##*/}" ] || patch=${1%/*}/$like/${1##*/}
	done
	shift
	[ -f "$patch" ] &&
		git -C "$tested" apply "$@" $([ "$TREE" = 6.12 ] || echo -C1) "$patch" 2>>"$work/logs/mutants-apply.log"
}

# take_out COMMIT: as git does it, where what came later leaves it alone
take_out()
{
	git -C "$tested" -c user.name=m -c user.email=m@localhost revert --no-commit "$1" >/dev/null 2>&1 || {
		git -C "$tested" revert --abort 2>/dev/null
		return 1
	}
	git -C "$tested" revert --quit 2>/dev/null
}

# suites_red NAME: at EL1 or on x86_64, by what steps/kunit --name NAME has left
suites_red() { sed -nE 's/^(FAIL|ERROR) ([^.]*\.[^.]*).*/\2/p' "$work/results/$1.tests" 2>/dev/null | sort -u; }

# guests_red NAME: in a protected guest, by what steps/guest has left under NAME
guests_red() { sed -E 's/^([^ ]*\.[^.]*)\..*/\1/' "$work/results/$1.red" | sort -u; }

# messages_missing GUEST NAME: what the kernel had to say in that guest of steps/guest NAME, and has not, with the name before it
messages_missing()
{
	[ "$1" = refused ] || return 0
	grep -q 'pkvm-guest: hypervisor refused to share' "$work/run/$2-$1/guest.log" || echo "message 'pkvm-guest: hypervisor refused to share'"
}

# guest_tests: a hash of what is looked at in a protected guest, and how, but for the guest 'faults'; the suites are of the series
guest_tests()
{
	(cd "$top/testbed" && for file in guest/* vmm/* driver/* dts/* config/*; do
		[ "$file" = guest/fault_test.c ] || cat "$file"
	done && sed -n '/^for guest/,/^done/p' ../steps/guest) | sha256sum | cut -c1-32
}

# series_passes NAME: ends the step unless the suites pass on $tested: a test that is red anyway catches nothing
series_passes()
{
	local status
	ARCH=arm64 watched "$work/logs/$1.log" "the series itself" \
		"$top/steps/kunit" --source "$tested" --build "$work/check/kunit-arm64" --name "$1"
	status=$?
	[ "$status" -eq 0 ] || { report "the series itself does not pass (status $status)" "$work/logs/$1.log"; exit "$status"; }
	[ -s "$work/results/$1.tests" ] || die 125 "the series itself has no suite"
}
