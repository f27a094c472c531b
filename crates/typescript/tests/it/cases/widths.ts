const a = "👩" as Naïve<"👩🏽‍🚀", 𝒯>, b = "ü";
const c = (d: ""):
  𝒯 => d;
type É = "é"
	let e:	string	= "tab";
