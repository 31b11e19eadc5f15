// SPDX-License-Identifier: GPL-2.0
/*
 * Platforms with private memory for the KUnit suites of kernel/dma.
 *
 * What a simulated platform does is what pKVM was seen to do, and what is known
 * of CCA and SEV: pKVM takes a range page by page, refuses a page that is in
 * the state asked for, and keeps the contents; CCA and SEV use another address
 * and lose the contents. One thing is worse: what was done before a page was
 * refused is left so, which pKVM's driver undoes when it shares
 * (drivers/virt/coco/pkvm-guest).
 */
#include <kunit/device.h>
#include <kunit/resource.h>
#include <kunit/static_stub.h>
#include <kunit/test-bug.h>
#include <linux/cc_platform.h>
#include <linux/debugfs.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/set_memory.h>
#include <linux/slab.h>
#include <linux/swiotlb.h>

#define DMA_STUBS_KEEP_REAL
#include "stubs.h"
#include "platform.h"

#ifdef CONFIG_ARM_PKVM_GUEST
#include <linux/arm-smccc.h>
#include <asm/hypervisor.h>

static bool on_protected_guest(void)
{
	return kvm_arm_hyp_service_available(ARM_SMCCC_KVM_FUNC_MEM_SHARE);
}
#else
static bool on_protected_guest(void)
{
	return false;
}
#endif

const struct dma_platform dma_platforms[DMA_PLATFORMS] = {
	{ .name = "in place", .force = true, .shares = true, .once = true },
	{ .name = "in place, non-coherent device", .force = true,
	  .shares = true, .once = true, .noncoherent = true },
	{ .name = "alias", .force = true, .shares = true, .alias = true,
	  .destroys = true },
	{ .name = "alias, non-coherent device", .force = true, .shares = true,
	  .alias = true, .destroys = true, .noncoherent = true },
	{ .name = "alias, not forced", .shares = true, .alias = true,
	  .destroys = true },
	{ .name = "none" },
	{ .name = "none, non-coherent device", .noncoherent = true },
	{ .name = "this machine, protected", .real = true, .force = true,
	  .shares = true, .once = true },
	{ .name = "this machine, protected, non-coherent device", .real = true,
	  .force = true, .shares = true, .once = true, .noncoherent = true },
};

static struct dma_test *current_test(void)
{
	return kunit_get_current_test()->priv;
}

/*
 * An interrupt may come by while a test runs, on behalf of a real device. What
 * it asks for is not for the simulation to answer.
 */
static bool is_test_device(struct device *dev)
{
	return in_task() && strstr(dev_name(dev), "dma-kunit");
}

static bool sim_force_unencrypted(struct device *dev)
{
	if (!is_test_device(dev))
		return force_dma_unencrypted(dev);
	return current_test()->platform->force && dev != current_test()->trusted;
}

/* A guest, some devices of which may reach its private memory, or a host. */
static bool sim_cc_platform_has(enum cc_attr attr)
{
	struct dma_test *ctx;

	if (!in_task())
		return cc_platform_has(attr);
	ctx = current_test();
	return ctx->platform->shares &&
	       (attr == CC_ATTR_MEM_ENCRYPT ||
		attr == (ctx->is_host ? CC_ATTR_HOST_MEM_ENCRYPT :
					CC_ATTR_GUEST_MEM_ENCRYPT));
}

static dma_addr_t sim_phys_to_dma_unencrypted(struct device *dev,
					      phys_addr_t paddr)
{
	if (!is_test_device(dev))
		return phys_to_dma_unencrypted(dev, paddr);
	return dma_test_shared_addr(current_test(), paddr);
}

static int sim_set_memory(unsigned long addr, int numpages, bool share)
{
	struct dma_test *ctx = current_test();
	unsigned int *refuse = share ? &ctx->refuse_share : &ctx->refuse_unshare;
	unsigned long pfn, end;

	/* Part of a page is no matter where nothing is shared. */
	if (!virt_addr_valid((void *)addr) ||
	    (ctx->platform->shares && !PAGE_ALIGNED(addr))) {
		ctx->misused++;
		return -EINVAL;
	}

	pfn = PHYS_PFN(virt_to_phys((void *)addr));
	if (share) {
		ctx->last_shared = pfn_to_page(pfn);
		ctx->last_cleaned = NULL;
	}

	for (end = pfn + numpages; pfn < end; pfn++, addr += PAGE_SIZE) {
		if (*refuse && !--*refuse) {
			ctx->last_refused = pfn_to_page(pfn);
			return -EPERM;
		}
		if (ctx->platform->once && !!xa_load(&ctx->shared, pfn) == share) {
			ctx->refused++;
			return -EPERM;
		}
		if (share) {
			if (xa_err(xa_store(&ctx->shared, pfn, xa_mk_value(1),
					    GFP_ATOMIC)))
				return -ENOMEM;
			ctx->shares++;
		} else {
			xa_erase(&ctx->shared, pfn);
			ctx->unshares++;
		}
		if (ctx->platform->destroys)
			memset((void *)addr, 0x5a, PAGE_SIZE);
	}
	return 0;
}

static int sim_set_memory_decrypted(unsigned long addr, int numpages)
{
	if (!in_task())
		return set_memory_decrypted(addr, numpages);
	return sim_set_memory(addr, numpages, true);
}

static int sim_set_memory_encrypted(unsigned long addr, int numpages)
{
	if (!in_task())
		return set_memory_encrypted(addr, numpages);
	return sim_set_memory(addr, numpages, false);
}

/* No test machine has caches that a device does not see, so take note. */
static void sim_prep_coherent(struct page *page, size_t size)
{
	if (in_task())
		current_test()->last_cleaned = page;
	arch_dma_prep_coherent(page, size);
}

static void *sim_contiguous_remap(struct page *page, size_t size,
				  pgprot_t prot, const void *caller)
{
	struct dma_test *ctx = current_test();
	void *addr;

	if (in_task() && ctx->refuse_remap)
		return NULL;
	addr = dma_common_contiguous_remap(page, size, prot, caller);
	if (in_task() && ctx->attaching)
		ctx->pool_mapping = addr;
	return addr;
}

/**
 * dma_test_is_shared() - ask the platform whether the host can see a page
 * @ctx:	the test
 * @phys:	physical address of the page
 *
 * Nothing tells the state of a page to a guest of pKVM, but a page that can be
 * shared was private. It is left in the state in which it was found, but not
 * with its contents.
 *
 * Return: true if the host can see it.
 */
bool dma_test_is_shared(struct dma_test *ctx, phys_addr_t phys)
{
	unsigned long addr;

	if (!ctx->platform->real)
		return xa_load(&ctx->shared, PHYS_PFN(phys));

	addr = (unsigned long)phys_to_virt(phys & PAGE_MASK);
	if (set_memory_decrypted(addr, 1))
		return true;
	WARN_ON(set_memory_encrypted(addr, 1));
	return false;
}

/* Number of the pages of a range that are shared. */
unsigned int dma_test_count_shared(struct dma_test *ctx, phys_addr_t phys,
				   size_t size)
{
	phys_addr_t end = PAGE_ALIGN(phys + size);
	unsigned int count = 0;

	for (phys &= PAGE_MASK; phys < end; phys += PAGE_SIZE)
		count += dma_test_is_shared(ctx, phys);
	return count;
}

/* DMA address of @phys as shared memory. */
dma_addr_t dma_test_shared_addr(struct dma_test *ctx, phys_addr_t phys)
{
	return ctx->platform->alias ? phys | DMA_TEST_SHARED_BIT : phys;
}

/*
 * dma_to_phys() has to understand both addresses of a page. The map's first
 * region also makes the address of private memory.
 */
static const struct bus_dma_region alias_map[] = {
	{ .size = DMA_TEST_SHARED_BIT },
	{ .dma_start = DMA_TEST_SHARED_BIT, .size = DMA_TEST_SHARED_BIT },
	{ }
};

static void clear_dma_range_map(void *dev)
{
	((struct device *)dev)->dma_range_map = NULL;
}

/**
 * dma_test_device() - make a device with 64-bit DMA masks
 * @test:	the test
 * @name:	name of the device
 *
 * Return: the device, which goes away with the test.
 */
struct device *dma_test_device(struct kunit *test, const char *name)
{
	struct dma_test *ctx = test->priv;
	struct device *dev = kunit_device_register(test, name);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	KUNIT_ASSERT_EQ(test, 0,
			dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64)));
	arch_setup_dma_ops(dev, !ctx->platform->noncoherent);
	if (dev_is_dma_coherent(dev) == ctx->platform->noncoherent)
		kunit_skip(test, "devices are not as they are to be here");
	if (ctx->platform->alias) {
		dev->dma_range_map = alias_map;
		KUNIT_ASSERT_EQ(test, 0,
				kunit_add_action_or_reset(test,
							  clear_dma_range_map,
							  dev));
	}
	return dev;
}

int dma_test_init(struct kunit *test)
{
	const struct dma_platform *platform = test->param_value;
	struct dma_test *ctx;

	if (platform->real && !on_protected_guest())
		kunit_skip(test, "this machine is no protected guest");
	if (platform->noncoherent && !IS_ENABLED(CONFIG_DMA_DIRECT_REMAP))
		kunit_skip(test, "all devices are cache coherent here");

	ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	if (!ctx)
		return -ENOMEM;
	ctx->platform = platform;
	ctx->must_not_sleep = atomic_read(&dma_stub_must_not_sleep);
	xa_init(&ctx->shared);
	test->priv = ctx;

	/* The machine's atomic pools are made before anything is simulated. */
	dma_test_device(test, "dma-kunit-first");

	if (!platform->real) {
		kunit_activate_static_stub(test, dma_stub_force_unencrypted,
					   sim_force_unencrypted);
		kunit_activate_static_stub(test, dma_stub_cc_platform_has,
					   sim_cc_platform_has);
		kunit_activate_static_stub(test,
					   dma_stub_phys_to_dma_unencrypted,
					   sim_phys_to_dma_unencrypted);
		kunit_activate_static_stub(test, dma_stub_set_memory_decrypted,
					   sim_set_memory_decrypted);
		kunit_activate_static_stub(test, dma_stub_set_memory_encrypted,
					   sim_set_memory_encrypted);
	}
	kunit_activate_static_stub(test, dma_stub_contiguous_remap,
				   sim_contiguous_remap);
	kunit_activate_static_stub(test, dma_stub_prep_coherent,
				   sim_prep_coherent);

	ctx->dev = dma_test_device(test, "dma-kunit");
	return 0;
}

/*
 * Nothing may toggle a page twice, or one that is not in the linear map, or
 * where it must not sleep.
 */
void dma_test_exit(struct kunit *test)
{
	struct dma_test *ctx = test->priv;

	if (!ctx)
		return;
	KUNIT_EXPECT_EQ(test, ctx->refused, 0);
	KUNIT_EXPECT_EQ(test, ctx->misused, 0);
	KUNIT_EXPECT_EQ(test, ctx->must_not_sleep,
			atomic_read(&dma_stub_must_not_sleep));
	xa_destroy(&ctx->shared);
}

static struct page *pool_page(struct dma_test *ctx, unsigned int i)
{
	return pfn_to_page(PHYS_PFN(ctx->rmem.base) + i);
}

static void restricted_pool_destroy(void *data)
{
	struct kunit *test = data;
	struct dma_test *ctx = test->priv;
	struct io_tlb_mem *mem = ctx->rmem.priv;
	bool real = ctx->platform->real;
	unsigned int i;

	/* a page of the pool that was freed on the way has lost a reference */
	for (i = 0; i < 1 << ctx->pool_order; i++)
		KUNIT_EXPECT_EQ_MSG(test, page_count(pool_page(ctx, i)), 2,
				    "page %u of the pool was freed", i);

	if (ctx->pool_mapping)
		dma_common_free_remap(ctx->pool_mapping, ctx->rmem.size);
	if (mem) {
		debugfs_remove_recursive(mem->debugfs);
		kfree(mem->defpool.areas);
		kfree(mem->defpool.slots);
		kfree(mem);
	}
	for (i = 0; i < 1 << ctx->pool_order; i++) {
		struct page *page = pool_page(ctx, i);

		if (real && dma_test_is_shared(ctx, page_to_phys(page)) &&
		    set_memory_encrypted((unsigned long)page_address(page), 1))
			continue;
		set_page_count(page, 1);
		__free_page(page);
	}
}

static void device_leaves_pool(void *dev)
{
	swiotlb_dev_init(dev);
}

static int attach(struct dma_test *ctx, struct device *dev)
{
	int ret;

	ctx->attaching = true;
	ret = ctx->rmem.ops->device_init(&ctx->rmem, dev);
	ctx->attaching = false;
	return ret;
}

/**
 * dma_test_try_attach() - attach a device to dma_test_restricted_pool()'s pool
 * @test:	the test
 * @dev:	another device than the test's
 *
 * Return: what attaching the device returned.
 */
int dma_test_try_attach(struct kunit *test, struct device *dev)
{
	int ret = attach(test->priv, dev);

	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, device_leaves_pool, dev));
	return ret;
}

void dma_test_attach(struct kunit *test, struct device *dev)
{
	KUNIT_ASSERT_EQ(test, 0, dma_test_try_attach(test, dev));
}

/**
 * dma_test_try_restricted_pool() - make a restricted DMA pool and attach to it
 * @test:	the test
 * @size:	size in bytes, a power of two of pages
 *
 * The pool is below 4 GiB, and goes away with the test.
 *
 * Return: what attaching the test's device returned.
 */
int dma_test_try_restricted_pool(struct kunit *test, size_t size)
{
	struct dma_test *ctx = test->priv;
	struct page *pages;
	unsigned int i;

	ctx->pool_order = get_order(size);
	pages = alloc_pages(GFP_KERNEL | GFP_DMA32, ctx->pool_order);
	KUNIT_ASSERT_NOT_NULL(test, pages);
	split_page(pages, ctx->pool_order);
	for (i = 0; i < 1 << ctx->pool_order; i++)
		get_page(pages + i);

	ctx->rmem.name = "dma-kunit";
	ctx->rmem.ops = dma_test_pool_ops();
	ctx->rmem.base = page_to_phys(pages) + ctx->pool_offset;
	ctx->rmem.size = size - ctx->pool_offset;
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, restricted_pool_destroy,
						  test));
	return attach(ctx, ctx->dev);
}

/* As above, with a pool that cannot be refused. */
void dma_test_restricted_pool(struct kunit *test, size_t size)
{
	struct dma_test *ctx = test->priv;

	KUNIT_ASSERT_EQ(test, 0, dma_test_try_restricted_pool(test, size));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, device_leaves_pool,
						  ctx->dev));
}

bool dma_test_in_pool(struct dma_test *ctx, phys_addr_t phys, size_t size)
{
	return phys >= ctx->rmem.base &&
	       phys + size <= ctx->rmem.base + ctx->rmem.size;
}
