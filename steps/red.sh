# Sourced by what builds the series wrong, or without its fixes, and asks which tests go red. Of a test with parameters, the
# test is named.

# suites_red NAME: at EL1 or on x86_64, by what steps/kunit --name NAME has left
suites_red() { sed -nE 's/^(FAIL|ERROR) ([^.]*\.[^.]*).*/\2/p' "$work/results/$1.tests" 2>/dev/null | sort -u; }

# guests_red NAME: in a protected guest, by what steps/guest has left under NAME
guests_red() { sed -E 's/^([^ ]*\.[^.]*)\..*/\1/' "$work/results/$1.red" | sort -u; }

# series_passes NAME: ends the step unless the suites pass on $tested: a test that is red anyway catches nothing
series_passes()
{
	local status
	watched "$work/logs/$1.log" "the series itself" \
		"$top/steps/kunit" --source "$tested" --build "$work/check/kunit-arm64" --name "$1"
	status=$?
	[ "$status" -eq 0 ] || { report "the series itself does not pass (status $status)" "$work/logs/$1.log"; exit "$status"; }
}
