// SPDX-License-Identifier: GPL-2.0
/*
 * Is the simulated platform what pKVM is? Each line of the table in pkvm.h that
 * is about memory is tried there, and by the same test on the machine's own
 * hypervisor if this is a protected guest.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/set_memory.h>
#include <linux/string.h>

#include "platform.h"
#include "pkvm.h"
#include "stubs.h"

static int set_memory(struct page *page, enum pkvm_call call)
{
	unsigned long addr = (unsigned long)page_address(page);

	return call == PKVM_SHARE ? set_memory_decrypted(addr, 1) :
				    set_memory_encrypted(addr, 1);
}

/*
 * Nobody can tell whether the guest has touched a page that the page allocator
 * gives out, and set_memory_*() is not for addresses without memory: what is
 * left is whether the page is shared.
 */
static void try_transition(struct kunit *test, const struct pkvm_transition *t)
{
	struct dma_test *ctx = test->priv;
	bool real = ctx->platform->real;
	unsigned long refused;
	struct page *page;
	int ret;

	page = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	if (t->page == PKVM_SHARED)
		KUNIT_EXPECT_EQ(test, 0, set_memory(page, PKVM_SHARE));
	KUNIT_EXPECT_EQ(test, t->page == PKVM_SHARED,
			dma_test_is_shared(ctx, page_to_phys(page)));
	memset(page_address(page), 0xc5, PAGE_SIZE);

	refused = ctx->refused;
	ret = set_memory(page, t->call);
	KUNIT_EXPECT_EQ_MSG(test, t->answer == PKVM_DONE ? 0 : -EPERM, ret,
			    "%s of page that is %d", t->call == PKVM_SHARE ?
			    "share" : "unshare", t->page);
	if (!real)
		KUNIT_EXPECT_EQ(test, t->answer == PKVM_REFUSED,
				ctx->refused - refused);
	/* it is not a mistake here */
	ctx->refused = refused;

	/* the driver of a real one zeroes what it shares */
	if (!real)
		KUNIT_EXPECT_NULL(test, memchr_inv(page_address(page), 0xc5,
						   PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, t->becomes == PKVM_SHARED,
			dma_test_is_shared(ctx, page_to_phys(page)));

	if (!dma_test_is_shared(ctx, page_to_phys(page)) ||
	    !set_memory(page, PKVM_UNSHARE))
		__free_page(page);
}

static void pages_change_as_on_pkvm(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	const struct pkvm_transition *t;

	if (!ctx->platform->shares || ctx->platform->alias)
		kunit_skip(test, "memory is not shared in place here");

	for (t = pkvm_transitions;
	     t < pkvm_transitions + ARRAY_SIZE(pkvm_transitions); t++)
		if (t->page != PKVM_NOTHING)
			try_transition(test, t);
}

/* For each kind of page and each call there is one answer. */
static void table_is_whole(struct kunit *test)
{
	unsigned int page, call, i, found;

	for (page = PKVM_UNTOUCHED; page <= PKVM_NOTHING; page++) {
		for (call = PKVM_SHARE; call <= PKVM_UNSHARE; call++) {
			found = 0;
			for (i = 0; i < ARRAY_SIZE(pkvm_transitions); i++)
				found += pkvm_transitions[i].page == page &&
					 pkvm_transitions[i].call == call;
			KUNIT_EXPECT_EQ(test, found, 1);
		}
	}
}

KUNIT_ARRAY_PARAM_DESC(dma_platform, dma_platforms, name);

static struct kunit_case dma_platform_cases[] = {
	KUNIT_CASE_PARAM(pages_change_as_on_pkvm, dma_platform_gen_params),
	{ }
};

static struct kunit_case dma_pkvm_cases[] = {
	KUNIT_CASE(table_is_whole),
	{ }
};

static struct kunit_suite dma_platform_suite = {
	.name = "dma_platform",
	.init = dma_test_init,
	.exit = dma_test_exit,
	.test_cases = dma_platform_cases,
};

static struct kunit_suite dma_pkvm_suite = {
	.name = "dma_pkvm",
	.test_cases = dma_pkvm_cases,
};

kunit_test_suites(&dma_platform_suite, &dma_pkvm_suite);
