const a = "👩", b = <string>a;
