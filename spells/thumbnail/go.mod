module thumbnail

go 1.27
