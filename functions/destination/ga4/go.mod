module ga4

go 1.24
