module meta-capi

go 1.24
