// asyncio's names for input and output on plain descriptors.      Python: loop.sock_recv and its kin
#pragma once

#include <sennit/loop/socket_io.hpp>

namespace sennit::asyncio {

using loop::Datagram;
using loop::file_read;
using loop::file_write;
using loop::forget_descriptor;
using loop::read_some;
using loop::sock_accept;
using loop::sock_connect;
using loop::sock_recv;
using loop::sock_recv_into;
using loop::sock_recvfrom;
using loop::sock_send;
using loop::sock_sendall;
using loop::sock_sendfile;
using loop::sock_sendto;
using loop::wait_readable;
using loop::wait_writable;
using loop::write_all;

} // namespace sennit::asyncio
