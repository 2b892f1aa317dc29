module sennit/benchmarks/go

go 1.19
