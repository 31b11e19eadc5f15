# The front door. Each target is a step in steps/, which can be run without make as well, and is where its exit status
# can be had: make itself turns every failure into 2.
export TREE LINUX ARCH TESTS TIMEOUT V FORCE CHECKS INSTALL

help:
	@sed -n 's/^#: //p' Makefile

#: make kunit        the KUnit suites on the work tree, at EL1 in plain QEMU; ARCH=arm64 | x86_64, TESTS=glob
kunit:
	@steps/kunit

#: make tree         build/6.12/linux: a git work tree, base and series as commits; edit and commit there
#: make series       takes the work tree's commits back into series/
#: make patches      writes patches/6.12/ from series/
tree series patches:
	@steps/tree $@

.PHONY: help kunit tree series patches
