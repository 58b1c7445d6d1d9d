module kolbak/bench/load

go 1.21
