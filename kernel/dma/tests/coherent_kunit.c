// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit suite for memory that belongs to one device, a shared-dma-pool.
 *
 * Included by coherent.c.
 */
#include <kunit/device.h>
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <kunit/test-bug.h>
#include <linux/completion.h>
#include <linux/kmsg_dump.h>
#include <linux/memblock.h>
#include <linux/sizes.h>
#include <linux/workqueue.h>

#include "platform.h"

/*
 * A region has to be outside of the system's memory to be mapped as such a
 * region is. Nothing is read or written there.
 */
#define REGION_BASE	ALIGN(max_t(u64, PFN_PHYS(max_pfn), SZ_4G), SZ_1G)
#define REGION_SIZE	SZ_64K

/* A device that attaches while another one does, which makes the region. */
static struct latecomer {
	struct work_struct work;
	struct completion done;
	struct device *dev;
	int ret;
} *latecomer;

static void attach_late(struct work_struct *work)
{
	struct latecomer *late = container_of(work, struct latecomer, work);

	late->ret = rmem_dma_device_init(dev_get_drvdata(late->dev), late->dev);
	complete(&late->done);
}

static int region_set_memory_decrypted(unsigned long addr, int numpages)
{
	struct kunit *test = kunit_get_current_test();
	struct dma_test *ctx = test->priv;

	KUNIT_EXPECT_EQ(test, addr, (unsigned long)phys_to_virt(REGION_BASE));
	KUNIT_EXPECT_EQ(test, numpages, REGION_SIZE / PAGE_SIZE);
	/* it is not mapped yet: the mapping may depend on the state */
	KUNIT_EXPECT_NULL(test, ctx->rmem.priv);
	if (ctx->refuse_share && !--ctx->refuse_share)
		return -EPERM;
	ctx->shares += numpages;
	if (latecomer) {
		schedule_work(&latecomer->work);
		KUNIT_EXPECT_EQ(test, 0,
				wait_for_completion_timeout(&latecomer->done,
							    HZ / 5));
	}
	return 0;
}

static void unmap_region(void *data)
{
	struct reserved_mem *rmem = data;

	_dma_release_coherent_memory(rmem->priv);
}

static struct reserved_mem *make_region(struct kunit *test)
{
	struct dma_test *ctx = test->priv;

	kunit_activate_static_stub(test, dma_stub_set_memory_decrypted,
				   region_set_memory_decrypted);
	ctx->rmem.name = "dma-kunit-own";
	ctx->rmem.base = REGION_BASE;
	ctx->rmem.size = REGION_SIZE;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, unmap_region,
							   &ctx->rmem));
	return &ctx->rmem;
}

static void own_memory_is_shared_once(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct device *second = dma_test_device(test, "dma-kunit-second");
	struct reserved_mem *rmem = make_region(test);
	unsigned long shares = ctx->platform->force ? REGION_SIZE / PAGE_SIZE : 0;
	dma_addr_t addr = REGION_BASE;

	if (ctx->platform->force)
		addr = dma_test_shared_addr(ctx, addr);

	KUNIT_ASSERT_EQ(test, 0, rmem_dma_device_init(rmem, ctx->dev));
	KUNIT_EXPECT_EQ(test, ctx->shares, shares);
	KUNIT_EXPECT_EQ(test, addr, dma_get_device_base(ctx->dev, rmem->priv));

	KUNIT_ASSERT_EQ(test, 0, rmem_dma_device_init(rmem, second));
	KUNIT_EXPECT_EQ(test, ctx->shares, shares);

	rmem_dma_device_release(rmem, second);
	rmem_dma_device_release(rmem, ctx->dev);
	KUNIT_EXPECT_EQ(test, ctx->unshares, 0);
	KUNIT_ASSERT_EQ(test, 0, rmem_dma_device_init(rmem, ctx->dev));
	KUNIT_EXPECT_EQ(test, ctx->shares, shares);
	rmem_dma_device_release(rmem, ctx->dev);
}

/* Who comes while the region is made waits for it. */
static void own_memory_is_made_once(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct reserved_mem *rmem = make_region(test);
	struct latecomer late = {
		.dev = dma_test_device(test, "dma-kunit-second"),
	};

	if (!ctx->platform->force || ctx->platform->real)
		kunit_skip(test, "nothing is done while another device could come");

	dev_set_drvdata(late.dev, rmem);
	init_completion(&late.done);
	INIT_WORK_ONSTACK(&late.work, attach_late);
	latecomer = &late;
	KUNIT_EXPECT_EQ(test, 0, rmem_dma_device_init(rmem, ctx->dev));
	latecomer = NULL;
	flush_work(&late.work);
	KUNIT_EXPECT_EQ(test, late.ret, 0);
	KUNIT_EXPECT_PTR_EQ(test, ctx->dev->dma_mem, late.dev->dma_mem);
	destroy_work_on_stack(&late.work);
	rmem_dma_device_release(rmem, late.dev);
	rmem_dma_device_release(rmem, ctx->dev);
}

static void own_memory_that_is_refused_is_not_used(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct reserved_mem *rmem = make_region(test);

	if (!ctx->platform->force)
		kunit_skip(test, "no share to refuse");

	ctx->refuse_share = 1;
	KUNIT_EXPECT_NE(test, 0, rmem_dma_device_init(rmem, ctx->dev));
	KUNIT_EXPECT_NULL(test, ctx->dev->dma_mem);
	ctx->dev->dma_mem = NULL;

	KUNIT_EXPECT_EQ(test, 0, rmem_dma_device_init(rmem, ctx->dev));
	KUNIT_EXPECT_EQ(test, ctx->shares, REGION_SIZE / PAGE_SIZE);
	rmem_dma_device_release(rmem, ctx->dev);
}

/* Only whole pages are shared, and what else is in one is not. */
static void own_memory_is_whole_pages_or_refused(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct reserved_mem *rmem = make_region(test);

	if (!ctx->platform->force)
		kunit_skip(test, "nothing is shared");

	rmem->size -= SZ_2K;
	KUNIT_EXPECT_NE(test, 0, rmem_dma_device_init(rmem, ctx->dev));
	rmem->base += SZ_2K;
	KUNIT_EXPECT_NE(test, 0, rmem_dma_device_init(rmem, ctx->dev));
	KUNIT_EXPECT_EQ(test, ctx->shares, 0);
	KUNIT_EXPECT_NULL(test, ctx->dev->dma_mem);
}

/* A region that is private is not for a device that cannot reach it. */
static void own_memory_of_trusted_device_is_private(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct device *second = dma_test_device(test, "dma-kunit-second");
	struct reserved_mem *rmem = make_region(test);

	if (!ctx->platform->force || ctx->platform->real)
		kunit_skip(test, "all devices are alike");

	ctx->trusted = ctx->dev;
	KUNIT_ASSERT_EQ(test, 0, rmem_dma_device_init(rmem, ctx->dev));
	KUNIT_EXPECT_EQ(test, dma_get_device_base(ctx->dev, rmem->priv),
			REGION_BASE);
	KUNIT_EXPECT_NE(test, 0, rmem_dma_device_init(rmem, second));
	KUNIT_EXPECT_NULL(test, second->dma_mem);
	KUNIT_EXPECT_EQ(test, ctx->shares, 0);
	rmem_dma_device_release(rmem, ctx->dev);
}

/* How often the kernel's log has the warning about addresses, from @iter on */
static unsigned int count_warnings(struct kmsg_dump_iter *iter)
{
	unsigned int count = 0;
	char line[256];
	size_t len;

	while (kmsg_dump_get_line(iter, false, line, sizeof(line), &len))
		count += !!strnstr(line, "beyond device's set DMA", len);
	return count;
}

/* Whether a device can reach its memory is a matter of the address it is given. */
static void own_memory_beyond_the_mask_is_warned_of(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct device *second = dma_test_device(test, "dma-kunit-second");
	struct reserved_mem *rmem = make_region(test);
	bool beyond = ctx->platform->alias && ctx->platform->force;
	struct kmsg_dump_iter iter;

	if (!IS_ENABLED(CONFIG_PRINTK))
		kunit_skip(test, "this kernel has no log");

	/* other parameters' are there before */
	kmsg_dump_rewind(&iter);
	count_warnings(&iter);
	KUNIT_ASSERT_EQ(test, 0, rmem_dma_device_init(rmem, ctx->dev));
	KUNIT_EXPECT_EQ(test, count_warnings(&iter), 0);

	second->coherent_dma_mask = DMA_TEST_SHARED_BIT - 1;
	KUNIT_ASSERT_EQ(test, 0, rmem_dma_device_init(rmem, second));
	KUNIT_EXPECT_EQ(test, count_warnings(&iter), beyond);
	rmem_dma_device_release(rmem, second);
	rmem_dma_device_release(rmem, ctx->dev);
}

KUNIT_ARRAY_PARAM_DESC(dma_platform, dma_platforms, name);
#define CASE(name) KUNIT_CASE_PARAM(name, dma_platform_gen_params)

static struct kunit_case dma_own_cases[] = {
	CASE(own_memory_is_shared_once),
	CASE(own_memory_is_made_once),
	CASE(own_memory_that_is_refused_is_not_used),
	CASE(own_memory_is_whole_pages_or_refused),
	CASE(own_memory_of_trusted_device_is_private),
	CASE(own_memory_beyond_the_mask_is_warned_of),
	{ }
};

static struct kunit_suite dma_own_suite = {
	.name = "dma_own",
	.init = dma_test_init,
	.exit = dma_test_exit,
	.test_cases = dma_own_cases,
};

kunit_test_suite(dma_own_suite);
