// SPDX-License-Identifier: GPL-2.0
/*
 * The functions that the KUnit suites of kernel/dma replace: see stubs.h.
 */
#include <kunit/static_stub.h>
#include <linux/dma-direct.h>
#include <linux/set_memory.h>

#define DMA_STUBS_KEEP_REAL
#include "stubs.h"

bool dma_stub_force_unencrypted(struct device *dev)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_stub_force_unencrypted, dev);
	return force_dma_unencrypted(dev);
}

dma_addr_t dma_stub_phys_to_dma_unencrypted(struct device *dev,
					    phys_addr_t paddr)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_stub_phys_to_dma_unencrypted, dev,
				   paddr);
	return phys_to_dma_unencrypted(dev, paddr);
}

int dma_stub_set_memory_decrypted(unsigned long addr, int numpages)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_stub_set_memory_decrypted, addr,
				   numpages);
	return set_memory_decrypted(addr, numpages);
}

int dma_stub_set_memory_encrypted(unsigned long addr, int numpages)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_stub_set_memory_encrypted, addr,
				   numpages);
	return set_memory_encrypted(addr, numpages);
}
