import a = require("b");
