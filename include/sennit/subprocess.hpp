// Running other programs.      Python: subprocess
#pragma once

#include <sennit/subprocess/args.hpp>
#include <sennit/subprocess/env.hpp>
#include <sennit/subprocess/errors.hpp>
#include <sennit/subprocess/options.hpp>
#include <sennit/subprocess/popen.hpp>
#include <sennit/subprocess/run.hpp>
