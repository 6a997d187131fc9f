# SPDX-License-Identifier: Apache-2.0
# rhonabwy is the second opinion on tokens; nothing that is installed links it.
pkg_check_modules(RHONABWY REQUIRED IMPORTED_TARGET librhonabwy)
if(TARGET unit_crypto_jws)
    target_link_libraries(unit_crypto_jws PRIVATE PkgConfig::RHONABWY)
endif()
