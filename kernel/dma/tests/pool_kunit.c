// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit suite for the atomic pools: they were shared when they were made, and
 * what comes from them goes back to them, as it is.
 */
#include <kunit/test.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/mm.h>

#include "platform.h"

/*
 * Not a device of its own pool and not one that may work on private memory:
 * only then there is a need for the atomic pools when sleeping is not allowed.
 */
static void need_atomic_pool(struct kunit *test)
{
	struct dma_test *ctx = test->priv;

	if (!IS_ENABLED(CONFIG_DMA_COHERENT_POOL))
		kunit_skip(test, "there are no atomic pools");
	if (!ctx->platform->force)
		kunit_skip(test, "private memory will do");
}

static const size_t sizes[] = { 1, PAGE_SIZE, PAGE_SIZE + 1, 4 * PAGE_SIZE };

static void expect_from_atomic_pool(struct kunit *test, void *cpu_addr,
				    dma_addr_t dma_addr, size_t size)
{
	struct dma_test *ctx = test->priv;
	phys_addr_t phys = dma_to_phys(ctx->dev, dma_addr);

	KUNIT_EXPECT_NULL(test, memchr_inv(cpu_addr, 0, size));
	KUNIT_EXPECT_EQ(test, dma_addr, dma_test_shared_addr(ctx, phys));
	KUNIT_EXPECT_EQ(test, ctx->shares, 0);
	if (ctx->platform->real)
		KUNIT_EXPECT_EQ(test, PFN_UP(size),
				dma_test_count_shared(ctx, phys, size));
}

/*
 * The pool hands out the first range that fits, so that it gives the same one
 * again, if and only if that came back.
 */
static void atomic_coherent_goes_back_to_pool(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	dma_addr_t first = 0, addr;
	unsigned int i;
	void *cpu_addr;

	need_atomic_pool(test);
	for (i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		cpu_addr = dma_alloc_coherent(ctx->dev, sizes[i / 2], &addr,
					      GFP_ATOMIC);
		KUNIT_ASSERT_NOT_NULL(test, cpu_addr);
		expect_from_atomic_pool(test, cpu_addr, addr, sizes[i / 2]);
		dma_free_coherent(ctx->dev, sizes[i / 2], cpu_addr, addr);
		KUNIT_EXPECT_EQ(test, ctx->unshares, 0);
		if (i & 1)
			KUNIT_EXPECT_EQ(test, addr, first);
		first = addr;
	}
}

/*
 * Extra references keep the pages when they are freed all the same. Pages in
 * the midst of a higher order allocation have no reference of their own.
 */
static int hold(struct page *page, size_t size)
{
	int count = page_count(page);
	unsigned int i;

	for (i = 0; i < PFN_UP(size); i++)
		page_ref_add(page + i, 2);
	return count;
}

static bool stop_holding(struct page *page, size_t size, int count)
{
	bool untouched = page_count(page) == count + 2;
	unsigned int i;

	for (i = 0; untouched && i < PFN_UP(size); i++)
		page_ref_sub(page + i, 2);
	return untouched;
}

static void atomic_pages_go_back_to_pool(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	dma_addr_t first = 0, addr;
	struct page *page;
	unsigned int i;
	int count;

	need_atomic_pool(test);
	for (i = 0; i < 2; i++) {
		page = dma_alloc_pages(ctx->dev, PAGE_SIZE, &addr,
				       DMA_BIDIRECTIONAL, GFP_ATOMIC);
		KUNIT_ASSERT_NOT_NULL(test, page);
		expect_from_atomic_pool(test, page_address(page), addr,
					PAGE_SIZE);

		count = hold(page, PAGE_SIZE);
		dma_free_pages(ctx->dev, PAGE_SIZE, page, addr,
			       DMA_BIDIRECTIONAL);
		KUNIT_EXPECT_TRUE(test, stop_holding(page, PAGE_SIZE, count));
		KUNIT_EXPECT_EQ(test, ctx->unshares, 0);
		if (i)
			KUNIT_EXPECT_EQ(test, addr, first);
		first = addr;
	}
}

/* Several at once, from the middle of the pool as well. */
static void atomic_pages_of_all_sizes_go_back(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	dma_addr_t addrs[ARRAY_SIZE(sizes)], addr;
	struct page *pages[ARRAY_SIZE(sizes)];
	unsigned int i, n;
	int count;

	need_atomic_pool(test);
	for (n = 0; n < ARRAY_SIZE(sizes); n++) {
		pages[n] = dma_alloc_pages(ctx->dev, sizes[n], &addrs[n],
					   DMA_BIDIRECTIONAL, GFP_ATOMIC);
		if (!pages[n])
			break;
	}
	KUNIT_EXPECT_EQ(test, n, ARRAY_SIZE(sizes));

	for (i = 0; i < n; i++) {
		count = hold(pages[i], sizes[i]);
		dma_free_pages(ctx->dev, sizes[i], pages[i], addrs[i],
			       DMA_BIDIRECTIONAL);
		KUNIT_EXPECT_TRUE(test, stop_holding(pages[i], sizes[i], count));
	}
	KUNIT_EXPECT_EQ(test, ctx->unshares, 0);

	pages[0] = dma_alloc_pages(ctx->dev, sizes[0], &addr,
				   DMA_BIDIRECTIONAL, GFP_ATOMIC);
	KUNIT_ASSERT_NOT_NULL(test, pages[0]);
	KUNIT_EXPECT_EQ(test, addr, addrs[0]);
	dma_free_pages(ctx->dev, sizes[0], pages[0], addr, DMA_BIDIRECTIONAL);
}

/* Ordinary memory is not taken for a pool's, wherever it lies. */
static void other_pages_do_not_go_to_pool(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct page *page;
	dma_addr_t addr;

	page = dma_alloc_pages(ctx->dev, PAGE_SIZE, &addr, DMA_BIDIRECTIONAL,
			       GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	get_page(page);
	dma_free_pages(ctx->dev, PAGE_SIZE, page, addr, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	put_page(page);
}

#define CASE(name) KUNIT_CASE_PARAM(name, dma_platform_gen_params)

static struct kunit_case dma_pool_cases[] = {
	CASE(atomic_coherent_goes_back_to_pool),
	CASE(atomic_pages_go_back_to_pool),
	CASE(atomic_pages_of_all_sizes_go_back),
	CASE(other_pages_do_not_go_to_pool),
	{ }
};

static struct kunit_suite dma_pool_suite = {
	.name = "dma_pool",
	.init = dma_test_init,
	.exit = dma_test_exit,
	.test_cases = dma_pool_cases,
};

kunit_test_suite(dma_pool_suite);
