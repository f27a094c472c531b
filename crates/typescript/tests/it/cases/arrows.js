const a =    (b   )    => b;
const c = (d            
            
) => d;
const f = (g, // )
           
        
) => g;
const h = async (
    
  i              
   
) => i;
function j() {
  return ( 
    // (
   k   ) => k;
}
function* l() {
  yield (  
    m   ) => m;
  throw (
       m               
    ) => m;
}
const n = o ? (p)         => p : q;
const r = ( 
         ) => "";
const s = (t        , u         ) => ({ t, u }         );
