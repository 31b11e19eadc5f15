/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit suites of kernel/dma replace.
 *
 * A static stub needs a function to stand in for. What kernel/dma asks the
 * platform about private memory is answered by inline functions, or by
 * functions of the architectures, so with CONFIG_DMA_KUNIT_TEST, and only then,
 * the files that include this header ask through functions of tests/stubs.c,
 * which carry the KUNIT_STATIC_STUB_REDIRECT(). So it is with what a test wants
 * to fail. Include it last.
 */
#ifndef _KERNEL_DMA_TESTS_STUBS_H
#define _KERNEL_DMA_TESTS_STUBS_H

#ifdef CONFIG_DMA_KUNIT_TEST
#include <linux/atomic.h>
#include <linux/cc_platform.h>
#ifdef __DMA_ATTR_ALLOC_CC_SHARED
#include <linux/dma-direct.h>
#endif
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/mm_types.h>
#include <linux/pgtable.h>
#include <linux/types.h>

struct device;
struct gen_pool;
struct page;

bool dma_stub_force_unencrypted(struct device *dev);
bool dma_stub_cc_platform_has(enum cc_attr attr);
dma_addr_t dma_stub_phys_to_dma_unencrypted(struct device *dev,
					    phys_addr_t paddr);
int dma_stub_set_memory_decrypted(unsigned long addr, int numpages);
int dma_stub_set_memory_encrypted(unsigned long addr, int numpages);
void *dma_stub_contiguous_remap(struct page *page, size_t size, pgprot_t prot,
				const void *caller);
pgprot_t dma_stub_pgprot_decrypted(pgprot_t prot);
void dma_stub_prep_coherent(struct page *page, size_t size);
int dma_stub_gen_pool_add_virt(struct gen_pool *pool, unsigned long addr,
			       phys_addr_t phys, size_t size, int nid);

/*
 * How often the state of memory was to be changed, or memory to be remapped,
 * in a context that must not sleep. Not only by the thread of a test.
 */
extern atomic_t dma_stub_must_not_sleep;

#ifdef __DMA_ATTR_ALLOC_CC_SHARED
/* dma_capable() asks what the device needs, too. */
static inline bool dma_stub_capable(struct device *dev, dma_addr_t addr,
				    size_t size, bool is_ram,
				    unsigned long attrs)
{
	if (!(attrs & DMA_ATTR_CC_SHARED) && dma_stub_force_unencrypted(dev))
		return false;
	return dma_capable(dev, addr, size, is_ram, attrs | DMA_ATTR_CC_SHARED);
}
#endif

#ifndef DMA_STUBS_KEEP_REAL
#undef phys_to_dma_unencrypted
#define phys_to_dma_unencrypted(dev, paddr) \
	dma_stub_phys_to_dma_unencrypted(dev, paddr)
#define force_dma_unencrypted(dev)	dma_stub_force_unencrypted(dev)
#define cc_platform_has(attr)		dma_stub_cc_platform_has(attr)
#ifdef __DMA_ATTR_ALLOC_CC_SHARED
#define dma_capable(dev, addr, size, is_ram, attrs) \
	dma_stub_capable(dev, addr, size, is_ram, attrs)
#endif
#define set_memory_decrypted(addr, numpages) \
	dma_stub_set_memory_decrypted(addr, numpages)
#define set_memory_encrypted(addr, numpages) \
	dma_stub_set_memory_encrypted(addr, numpages)
#undef pgprot_decrypted
#define pgprot_decrypted(prot)		dma_stub_pgprot_decrypted(prot)
#define dma_common_contiguous_remap(page, size, prot, caller) \
	dma_stub_contiguous_remap(page, size, prot, caller)
#define arch_dma_prep_coherent(page, size) \
	dma_stub_prep_coherent(page, size)
#define gen_pool_add_virt(pool, addr, phys, size, nid) \
	dma_stub_gen_pool_add_virt(pool, addr, phys, size, nid)
#endif
#endif /* CONFIG_DMA_KUNIT_TEST */

#endif /* _KERNEL_DMA_TESTS_STUBS_H */
