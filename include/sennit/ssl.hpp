// TLS for asyncio's streams.      Python: ssl
//
// Needs the library sennit::tls (CMake: find_package(sennit COMPONENTS tls); pkg-config: sennit-tls), which uses OpenSSL.
#pragma once

#include <sennit/tls/errors.hpp>
#include <sennit/tls/ssl_context.hpp>
