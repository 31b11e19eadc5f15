# Sourced by what asks Debian's archive for source packages of Linux.

# The machine's own apt says where its mirror is and how to reach it (proxies and the like); lists, state and
# cache are ours, so that nothing of the machine's changes and no privilege is needed.
apt=$build/apt
apt_opts=(
	-o "Dir::State=$apt/state" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache"
	-o "Dir::Etc::SourceList=$apt/sources.list" -o "Dir::Etc::SourceParts=-"
	-o "Dir::Etc::Preferences=-" -o "Dir::Etc::PreferencesParts=-"
	-o "APT::Sandbox::User=$(id -un)" -o "APT::Architecture=amd64" -o "APT::Architectures=amd64"
	-o "Acquire::Languages=none" -o "Acquire::Retries=2" -o "Acquire::http::Timeout=30"
)

mirrors()
{
	local keyring=/usr/share/keyrings/debian-archive-keyring.gpg origin uri release suite main= security=
	[ -r "$keyring" ] || die 125 "$keyring: missing (package debian-archive-keyring)"
	# Origin is known only once the machine has fetched its lists, so the usual path of a mirror serves as well.
	while read -r uri release origin; do
		case $origin:$uri in
		Debian:* | *:*/debian/ | *:*/debian-security/) ;;
		*) continue ;;
		esac
		case $release in
		*-security) : "${security:=$uri}" ;;
		*) : "${main:=$uri}" ;;
		esac
	done < <(for info in '' --no-release-info; do
		apt-get indextargets $info --format '$(REPO_URI) $(RELEASE) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null
	done)
	[ -n "$main" ] || die 125 "no Debian mirror in this machine's apt sources: give your own tree with LINUX=DIR"
	: "${security:=${main%/}-security/}"
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" && : >"$apt/status"
	for suite in $(tree_get suites); do
		case $suite in
		*-security) uri=$security ;;
		*) uri=$main ;;
		esac
		printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$uri" "$suite"
	done >"$apt/sources.list"
}

# lists: the package lists of the tree's suites; if they cannot be fetched, problem says why
lists()
{
	# They are of one tree at a time.
	lock "$build/apt.lock"
	mirrors
	# A suite that is missing or down is an error of this call and none of ours, as long as another has the package.
	apt-get "${apt_opts[@]}" -q update >"$apt/update.log" 2>&1 </dev/null ||
		sed -n '/Some index files/d; s/^[EW]: /   left out: /p' "$apt/update.log"
	if ! grep -q '^\(Hit\|Get\):' "$apt/update.log"; then
		if grep -q 'does not have a Release file' "$apt/update.log"; then
			problem="the mirror has none of the suites that trees/$TREE names: $(tree_get suites)"
		else
			problem="no network: no package list could be fetched ($(grep -m 1 -oE \
				'(Could not|Temporary failure|Unable to connect|Failed to fetch).*' "$apt/update.log"))"
		fi
		return 1
	fi
}

# download PACKAGE VERSION: leaves its path in deb; if it cannot be fetched, problem says why
download()
{
	deb=$build/cache/$1_${2//:/%3a}_all.deb
	mkdir -p "$build/cache" || die 125 "$build/cache: cannot be made"
	# apt checks size and hash of what it fetches, and of what is there already.
	watched "$work/logs/download.log" "download of $1 $2" \
		env -C "$build/cache" apt-get "${apt_opts[@]}" download "$1=$2" || {
		problem="$1 $2 could not be downloaded ($(grep -m 1 '^[EW]:' "$work/logs/download.log"))"
		return 1
	}
	[ -f "$deb" ] || die 125 "$(short "$deb"): is not there, and apt-get says that it is"
}
