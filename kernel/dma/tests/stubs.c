// SPDX-License-Identifier: GPL-2.0
/*
 * The functions that the KUnit suites of kernel/dma replace: see stubs.h.
 */
#include <kunit/static_stub.h>
#include <linux/cc_platform.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/genalloc.h>
#include <linux/preempt.h>
#include <linux/set_memory.h>

#define DMA_STUBS_KEEP_REAL
#include "stubs.h"

bool dma_stub_force_unencrypted(struct device *dev)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_stub_force_unencrypted, dev);
	return force_dma_unencrypted(dev);
}

bool dma_stub_cc_platform_has(enum cc_attr attr)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_stub_cc_platform_has, attr);
	return cc_platform_has(attr);
}

dma_addr_t dma_stub_phys_to_dma_unencrypted(struct device *dev,
					    phys_addr_t paddr)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_stub_phys_to_dma_unencrypted, dev,
				   paddr);
	return phys_to_dma_unencrypted(dev, paddr);
}

atomic_t dma_stub_must_not_sleep;

static void count_must_not_sleep(void)
{
	if (in_atomic() || irqs_disabled())
		atomic_inc(&dma_stub_must_not_sleep);
}

int dma_stub_set_memory_decrypted(unsigned long addr, int numpages)
{
	count_must_not_sleep();
	KUNIT_STATIC_STUB_REDIRECT(dma_stub_set_memory_decrypted, addr,
				   numpages);
	return set_memory_decrypted(addr, numpages);
}

int dma_stub_set_memory_encrypted(unsigned long addr, int numpages)
{
	count_must_not_sleep();
	KUNIT_STATIC_STUB_REDIRECT(dma_stub_set_memory_encrypted, addr,
				   numpages);
	return set_memory_encrypted(addr, numpages);
}

void *dma_stub_contiguous_remap(struct page *page, size_t size, pgprot_t prot,
				const void *caller)
{
	count_must_not_sleep();
	KUNIT_STATIC_STUB_REDIRECT(dma_stub_contiguous_remap, page, size, prot,
				   caller);
	return dma_common_contiguous_remap(page, size, prot, caller);
}

pgprot_t dma_stub_pgprot_decrypted(pgprot_t prot)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_stub_pgprot_decrypted, prot);
	return pgprot_decrypted(prot);
}

void dma_stub_prep_coherent(struct page *page, size_t size)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_stub_prep_coherent, page, size);
	arch_dma_prep_coherent(page, size);
}

int dma_stub_gen_pool_add_virt(struct gen_pool *pool, unsigned long addr,
			       phys_addr_t phys, size_t size, int nid)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_stub_gen_pool_add_virt, pool, addr, phys,
				   size, nid);
	return gen_pool_add_virt(pool, addr, phys, size, nid);
}
