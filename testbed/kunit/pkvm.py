# SPDX-License-Identifier: GPL-2.0
"""kunit.py --qemu_config: the tests run in a pKVM protected guest.

kunit.py starts 'qemu-system-' and the architecture's name; the one named here
is beside this file, which has to be in PATH:

    PATH=testbed/kunit:$PATH kunit.py exec --build_dir DIR \
        --qemu_config testbed/kunit/pkvm.py

The kernel's options are those of testbed/config/arm64.config and
arch/arm64/configs/pkvm_guest.config, see steps/kunit.
"""
from ..qemu_config import QemuArchParams

QEMU_ARCH = QemuArchParams(linux_arch='arm64',
                           kconfig='CONFIG_ARM_PKVM_GUEST=y',
                           qemu_arch='pkvm-guest',
                           kernel_path='arch/arm64/boot/Image',
                           kernel_command_line='',
                           extra_qemu_params=[])
