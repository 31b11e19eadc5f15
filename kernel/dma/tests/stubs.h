/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit suites of kernel/dma replace.
 *
 * A static stub needs a function to stand in for. What kernel/dma asks the
 * platform about private memory is answered by inline functions, or by
 * functions of the architectures, so with CONFIG_DMA_KUNIT_TEST, and only then,
 * the files that include this header ask through functions of tests/stubs.c,
 * which carry the KUNIT_STATIC_STUB_REDIRECT(). Include it last.
 */
#ifndef _KERNEL_DMA_TESTS_STUBS_H
#define _KERNEL_DMA_TESTS_STUBS_H

#ifdef CONFIG_DMA_KUNIT_TEST
#include <linux/types.h>

struct device;

bool dma_stub_force_unencrypted(struct device *dev);
dma_addr_t dma_stub_phys_to_dma_unencrypted(struct device *dev,
					    phys_addr_t paddr);
int dma_stub_set_memory_decrypted(unsigned long addr, int numpages);
int dma_stub_set_memory_encrypted(unsigned long addr, int numpages);

#ifndef DMA_STUBS_KEEP_REAL
#undef phys_to_dma_unencrypted
#define phys_to_dma_unencrypted(dev, paddr) \
	dma_stub_phys_to_dma_unencrypted(dev, paddr)
#define force_dma_unencrypted(dev)	dma_stub_force_unencrypted(dev)
#define set_memory_decrypted(addr, numpages) \
	dma_stub_set_memory_decrypted(addr, numpages)
#define set_memory_encrypted(addr, numpages) \
	dma_stub_set_memory_encrypted(addr, numpages)
#endif
#endif /* CONFIG_DMA_KUNIT_TEST */

#endif /* _KERNEL_DMA_TESTS_STUBS_H */
