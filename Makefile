# The front door. Each target is a step in steps/, which can be run without make as well. The exit statuses of the
# README are those of the steps: make itself turns every failure into 2.
export TREE LINUX ARCH TESTS TIMEOUT CHECKS V FORCE INSTALL OPS SEED FAULT FROM

help:
	@sed -n 's/^#: //p' Makefile

#: make run          the main job: source, git am, build, boot, suites, one verdict; GUESTS="kexec crash" other guests
#: make kunit        the suites on the work tree, the quick loop: ARCH=arm64 | x86_64, TESTS=glob, TIMEOUT=seconds
#: make check        all that a change must pass; CHECKS="am shell" runs some
run kunit check mutants hunks unpatched secrecy load faults sanitizer trees bench:
	@steps/$@

bench-growth:
	@steps/bench growth

#: make check-all    and what takes longer: five architectures, the hypervisor's answers, …
check-all:
	@steps/check all

#: make tree         build/6.12/linux: a git work tree, base and series as commits; edit and commit there
#: make series       takes the work tree's commits back into series/
#: make patches      writes patches/6.12/ from series/
tree series patches:
	@steps/tree $@

#: make range-diff   what has changed in patches/6.12/ since FROM=<revision of this repository>, for the next version's letter
range-diff:
	@steps/$@

#: make mutants      leaves out each fix, puts in each fault of mutants/: which test goes red; MUTANTS="NAME..." some
#: make hunks        turns every place that a fix changes back, one at a time: which test goes red; HUNKS="KEY..." some
#: make secrecy      what the host sees of the guest's secrets, without the series and with it: testbed/SECRECY.md
#: make bench        what the series costs: instructions and hypercalls an operation, with and without it: bench/README.md; TREES=all
#: make bench-growth how that grows with the size of a pool, how much of it is taken, …
#: make load         a long random sequence of operations on two vcpus: OPS=100000 SEED=1
#: make faults       every allocation, share and un-share fails in its turn
#: make sanitizer    everything in a guest whose kernel watches itself
#: make unpatched    the suites without the fixes: which tests fail
#: make trees        check-all on all trees, one after the other, and a table: TREES=7.3, CHECKS="sparse long/load" some of it
#:
#: TREE=6.12 | 7.2 | 7.3 the base, LINUX=DIR your own git tree instead, V=1 raw commands, INSTALL=no only say what is missing

.PHONY: help run kunit check check-all mutants hunks unpatched secrecy load faults sanitizer trees bench bench-growth tree series patches range-diff
